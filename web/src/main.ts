import { mount } from 'svelte';

import App from './App.svelte';
import './base.css';
import './inks.css';
import './app.css';

const target = document.getElementById('app');
if (!target) throw new Error('index.html has no element #app');
mount(App, { target });
