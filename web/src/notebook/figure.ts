/** What a notebook is given to draw, as src/cutaway/show writes it. */

import type { TokenShape } from '../api/types';
import type { Chart } from '../figures/LineChart.svelte';
import type { Matrix } from '../figures/HeatMap.svelte';

/** Little-endian float32 in base64. */
type Packed = string;

export type Figure = { title: string } & (
  | { kind: 'heatmap'; matrix: Omit<Matrix, 'values'> & { values: Packed } }
  | { kind: 'attention'; name: string; values: Packed; tokens: TokenShape[]; head: number; cell: number }
  | { kind: 'curve'; chart: Chart }
  | { kind: 'tokens'; name: string; tokens: TokenShape[]; bits: (number | null)[] }
);

export function unpacked(text: Packed): Float32Array {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}
