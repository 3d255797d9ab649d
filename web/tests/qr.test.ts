/** The pick-up code's QR: module by module what an independent encoder (segno) draws. */
import { expect, test } from "vitest";
import { qrOf } from "../src/stock/qr";

/** segno.make("0123-ABCD-WXYZ", version=1, error="m", mask=0, boost_error=False) */
const KNOWN = [
  "111111100100101111111",
  "100000101011001000001",
  "101110100001101011101",
  "101110100010001011101",
  "101110101111101011101",
  "100000100111001000001",
  "111111101010101111111",
  "000000000010000000000",
  "101010100100100010010",
  "000100010111011011000",
  "100111110101001000101",
  "111001000111110111110",
  "001010101101010011001",
  "000000001110011011110",
  "111111100110101111001",
  "100000100010000110101",
  "101110101000110000111",
  "101110100011000000110",
  "101110101011001101001",
  "100000100111110010111",
  "111111101101001100101",
];

test("a pick-up code is drawn as the standard says", () => {
  const drawn = qrOf("0123-ABCD-WXYZ")?.map((row) => row.map((dark) => (dark ? "1" : "0")).join(""));
  expect(drawn).toEqual(KNOWN);
});

test("what does not fit is not drawn", () => {
  expect(qrOf("")).toBeNull();
  expect(qrOf("abc")).toBeNull();
  expect(qrOf("A".repeat(21))).toBeNull();
});
