import { mount } from 'svelte';

import '../base.css';
import '../inks.css';
import './notebook.css';
import type { Figure as Given } from './figure';
import Figure from './Figure.svelte';

const given = document.getElementById('given');
const target = document.getElementById('figure');
if (!given || !target) throw new Error('the document has no figure');
// Until here a table stood in its place.
target.replaceChildren();
mount(Figure, { target, props: { figure: JSON.parse(given.textContent ?? '') as Given } });
