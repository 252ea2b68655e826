/**
 * Programs of classic BPF (struct sock_filter, of a little-endian machine), as bytes for a packet socket.
 */

export const LOAD_WORD = 0x20
export const LOAD_HALF = 0x28
export const LOAD_BYTE = 0x30
/** At so many bytes behind what `LOAD_IPV4_HEADER_BYTES` has loaded. */
export const LOAD_HALF_BEHIND = 0x48
/** Of the header that begins at this byte, from its first one. */
export const LOAD_IPV4_HEADER_BYTES = 0xb1
export const AND = 0x54
export const JUMP_EQUAL = 0x15
export const JUMP_SET = 0x45
export const RETURN = 0x06

/** Jumps count the instructions that they leap over. */
export function classicFilter(
  instructions: readonly (readonly [code: number, yes: number, no: number, k: number])[],
): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8)
  const view = new DataView(bytes.buffer)
  instructions.forEach(([code, yes, no, k], index) => {
    view.setUint16(index * 8, code, true)
    view.setUint8(index * 8 + 2, yes)
    view.setUint8(index * 8 + 3, no)
    view.setUint32(index * 8 + 4, k, true)
  })
  return bytes
}
