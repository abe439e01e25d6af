/** A graph that is a chain with something given at some of its links, for where it is too wide: from top to bottom. */

import type { Graph } from './Graph.svelte';

/** Between two links, and between what is given and the link that it goes into. */
const BELOW = 26;
const BESIDE = 30;

/** The numbers of the nodes that are the chain: the row that the last one stands in. */
export function chain({ nodes }: Graph): Set<number> {
  const middle = (i: number): number => nodes[i]!.y + nodes[i]!.height / 2;
  return new Set([...nodes.keys()].filter((i) => Math.abs(middle(i) - middle(nodes.length - 1)) < 1));
}

/** The same boxes: the chain in one column, what is given on the left of the link that it goes into. */
export function upright(graph: Graph): Graph {
  const links = chain(graph);
  const widest = (of: number[]): number => Math.max(0, ...of.map((i) => graph.nodes[i]!.width));
  const numbers = [...graph.nodes.keys()];
  const left = widest(numbers.filter((i) => !links.has(i)));
  const right = widest([...links]);
  const nodes = graph.nodes.map((node) => ({ ...node }));
  let y = 0;
  for (const i of links) {
    const given = graph.arrows.filter(({ start, end }) => end === i && !links.has(start)).map(({ start }) => nodes[start]!);
    const tall = Math.max(nodes[i]!.height, ...given.map(({ height }) => height));
    for (const box of given) Object.assign(box, { x: left - box.width, y: y + (tall - box.height) / 2 });
    Object.assign(nodes[i]!, { x: left + BESIDE + (right - nodes[i]!.width) / 2, y: y + (tall - nodes[i]!.height) / 2 });
    y += tall + BELOW;
  }
  return { nodes, arrows: graph.arrows, width: left + BESIDE + right, height: y - BELOW };
}
