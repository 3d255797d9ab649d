/**
 * A QR code of a pick-up code: version 1, level M, alphanumeric, at most 20 signs. So small a part
 * of the standard (ISO/IEC 18004) that it needs no library. Pure.
 */

const SIZE = 21;
const DATA_WORDS = 16;
const CHECK_WORDS = 10;
const SIGNS_MAX = 20;
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";
const MASK = 0; // (row + column) even: any mask may be used, one is enough for so few signs
/** Level M with mask 0, as the standard's table has it, highest bit first. */
const FORMAT = 0b101010000010010;

const EXP: number[] = [];
const LOG: number[] = [];
for (let power = 0, x = 1; power < 255; power++) {
  EXP[power] = x;
  LOG[x] = power;
  x = x < 128 ? x * 2 : (x * 2) ^ 0x11d;
}
const times = (a: number, b: number): number => (a && b ? (EXP[((LOG[a] ?? 0) + (LOG[b] ?? 0)) % 255] ?? 0) : 0);

/** Rows of dark (true) modules, without the quiet zone; null for what does not fit. */
export function qrOf(text: string): boolean[][] | null {
  const signs = [...text].map((sign) => ALPHABET.indexOf(sign));
  if (!signs.length || signs.length > SIGNS_MAX || signs.includes(-1)) return null;
  const data = wordsOf(signs);
  return drawn([...data, ...checkOf(data)]);
}

function wordsOf(signs: number[]): number[] {
  let bits = "0010" + binary(signs.length, 9);
  for (let at = 0; at < signs.length; at += 2) {
    const [first = 0, second] = signs.slice(at, at + 2);
    bits += second === undefined ? binary(first, 6) : binary(first * 45 + second, 11);
  }
  bits += "0".repeat(Math.min(4, DATA_WORDS * 8 - bits.length));
  bits += "0".repeat((8 - (bits.length % 8)) % 8);
  const words = (bits.match(/.{8}/g) ?? []).map((word) => parseInt(word, 2));
  for (let pad = 0xec; words.length < DATA_WORDS; pad ^= 0xec ^ 0x11) words.push(pad);
  return words;
}
const binary = (n: number, length: number): string => n.toString(2).padStart(length, "0");

/** Reed-Solomon: the rest of the division by (x - 1)(x - 2)(x - 4)… */
function checkOf(data: number[]): number[] {
  let generator = [1];
  for (let i = 0; i < CHECK_WORDS; i++) {
    const root = EXP[i] ?? 1;
    generator = [...generator, 0].map((term, at) => term ^ times(at ? (generator[at - 1] ?? 0) : 0, root));
  }
  const rest = [...data, ...Array<number>(CHECK_WORDS).fill(0)];
  data.forEach((_, at) => {
    const lead = rest[at] ?? 0;
    generator.forEach((term, n) => (rest[at + n] = (rest[at + n] ?? 0) ^ times(term, lead)));
  });
  return rest.slice(DATA_WORDS);
}

function drawn(words: number[]): boolean[][] {
  const grid: (boolean | null)[][] = Array.from({ length: SIZE }, () => Array<boolean | null>(SIZE).fill(null));
  const set = (row: number, column: number, dark: boolean): void => {
    const line = grid[row];
    if (line && column >= 0 && column < SIZE) line[column] = dark;
  };
  for (const [top, left] of [[0, 0], [0, SIZE - 7], [SIZE - 7, 0]] as const) {
    for (let r = -1; r <= 7; r++) {
      for (let c = -1; c <= 7; c++) {
        const ring = Math.max(Math.abs(r - 3), Math.abs(c - 3));
        set(top + r, left + c, ring !== 2 && ring < 4);
      }
    }
  }
  for (let at = 8; at < SIZE - 8; at++) {
    set(6, at, at % 2 === 0);
    set(at, 6, at % 2 === 0);
  }
  writeFormat(set);
  let bit = 0;
  for (let right = SIZE - 1; right > 0; right -= 2) {
    if (right === 6) right--; // the column of the timing pattern
    for (let step = 0; step < SIZE; step++) {
      const up = ((right + 1) & 2) === 0;
      const row = up ? SIZE - 1 - step : step;
      for (const column of [right, right - 1]) {
        if (grid[row]?.[column] !== null) continue;
        const dark = (((words[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 1;
        set(row, column, dark !== ((row + column) % 2 === MASK));
        bit++;
      }
    }
  }
  return grid.map((line) => line.map((dark) => dark === true));
}

/** Twice, around the corners, and the one module that is always dark. */
function writeFormat(set: (row: number, column: number, dark: boolean) => void): void {
  for (let i = 0; i < 15; i++) {
    const dark = ((FORMAT >> i) & 1) === 1; // from the lowest bit
    if (i < 6) set(i, 8, dark);
    else if (i < 8) set(i + 1, 8, dark);
    else if (i === 8) set(8, 7, dark);
    else set(8, 14 - i, dark);
    if (i < 8) set(8, SIZE - 1 - i, dark);
    else set(SIZE - 15 + i, 8, dark);
  }
  set(SIZE - 8, 8, true);
}
