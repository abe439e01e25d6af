/** Colours of numbers: one hue for shares, blue to orange for signed values, both from the page's own inks. */

export type Scale = 'share' | 'signed';

type Rgb = [number, number, number];

function ink(style: CSSStyleDeclaration, name: string): Rgb {
  const hex = style.getPropertyValue(name).trim().slice(1);
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as Rgb;
}

/** What a value of 1 stands for: 1 for shares, the largest magnitude for signed values. */
export function reach(values: ArrayLike<number>, scale: Scale): number {
  if (scale === 'share') return 1;
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i] ?? 0);
    if (size > most && Number.isFinite(size)) most = size;
  }
  return most || 1;
}

/**
 * Numbers as the pixels of an image, a pixel each; what is not finite is left as the paper. `most` is what the full ink
 * stands for, where several images are to be compared.
 */
export function pixels(
  values: Float32Array,
  columns: number,
  scale: Scale,
  element: Element,
  most: number = reach(values, scale),
): ImageData {
  const style = getComputedStyle(element);
  const sheet = ink(style, '--sheet');
  const high = ink(style, scale === 'share' ? '--probability' : '--positive');
  const low = ink(style, '--negative');
  const image = new ImageData(columns, values.length / columns);
  const data = image.data;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    const share = Number.isFinite(value) ? Math.min(1, Math.abs(value) / most) : 0;
    const full = value < 0 ? low : high;
    const at = 4 * i;
    data[at] = sheet[0] + (full[0] - sheet[0]) * share;
    data[at + 1] = sheet[1] + (full[1] - sheet[1]) * share;
    data[at + 2] = sheet[2] + (full[2] - sheet[2]) * share;
    data[at + 3] = 255;
  }
  return image;
}

/** A number in few characters. */
export function brief(value: number): string {
  if (!Number.isFinite(value)) return value < 0 ? '−∞' : String(value);
  const size = Math.abs(value);
  if (size >= 1000 && size < 1e7) return Math.round(value).toLocaleString('en').replace('-', '−');
  const text = size >= 1e7 || (size > 0 && size < 0.001) ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : 3);
  return text.replace('-', '−');
}

const RAISED = '⁰¹²³⁴⁵⁶⁷⁸⁹';

/** A large number: 5.2 × 10¹³. */
export function powerOfTen(value: number, digits = 1): string {
  const [mantissa, exponent] = value.toExponential(digits).split('e');
  const raised = [...String(Number(exponent))].map((each) => RAISED[Number(each)] ?? '⁻').join('');
  return `${digits === 0 && mantissa === '1' ? '' : `${mantissa} × `}10${raised}`;
}
