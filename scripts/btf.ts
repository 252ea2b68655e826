/**
 * Reads the types of a .BTF section (linux/btf.h): as much as plain C structs and enums need.
 *
 * Pointers, functions and other kinds stand as undefined at their index, so that indexes stay true.
 */

export interface BtfMember {
  readonly name: string
  readonly type: number
  /** Bytes from the start of the struct. */
  readonly offset: number
}

export interface BtfType {
  /** `alias` is a typedef or a qualifier of `elementType`. */
  readonly kind: 'integer' | 'array' | 'struct' | 'enum' | 'alias'
  readonly name: string
  /** Bytes; 0 for arrays and aliases. */
  readonly size: number
  readonly members: readonly BtfMember[]
  readonly values: readonly { readonly name: string; readonly value: number }[]
  readonly elementType: number
  readonly count: number
}

/** Index 0 is void. Throws on a kind whose length is unknown, because the rest could not be read. */
export function parseBtf(section: Uint8Array): (BtfType | undefined)[] {
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength)
  if (view.getUint16(0, true) !== 0xeb9f) throw new Error('bad BTF magic')
  const headerBytes = view.getUint32(4, true)
  const typesAt = headerBytes + view.getUint32(8, true)
  const typesEnd = typesAt + view.getUint32(12, true)
  const stringsAt = headerBytes + view.getUint32(16, true)
  const text = (offset: number): string => {
    const start = stringsAt + offset
    return new TextDecoder().decode(section.subarray(start, section.indexOf(0, start)))
  }
  const types: (BtfType | undefined)[] = [undefined]
  let at = typesAt
  while (at < typesEnd) {
    const parsed = parseType(view, at, text)
    types.push(parsed.type)
    at = parsed.next
  }
  return types
}

function parseType(
  view: DataView,
  at: number,
  text: (offset: number) => string,
): { type: BtfType | undefined; next: number } {
  const u32 = (offset: number): number => view.getUint32(at + offset, true)
  const name = text(u32(0))
  const kind = (u32(4) >> 24) & 0x1f
  const count = u32(4) & 0xffff
  const sizeOrType = u32(8)
  const base = { name, size: 0, members: [], values: [], elementType: 0, count: 0 }
  const indexes = Array.from({ length: count }, (_, index) => index)
  switch (kind) {
    case KIND.integer:
      return { type: { ...base, kind: 'integer', size: sizeOrType }, next: at + 16 }
    case KIND.array:
      return {
        type: { ...base, kind: 'array', elementType: u32(12), count: u32(20) },
        next: at + 24,
      }
    case KIND.struct:
    case KIND.union: {
      const members = indexes.map((index) => ({
        name: text(u32(12 + index * 12)),
        type: u32(16 + index * 12),
        offset: (u32(20 + index * 12) & 0xffffff) / 8,
      }))
      return {
        type: { ...base, kind: 'struct', size: sizeOrType, members },
        next: at + 12 + count * 12,
      }
    }
    case KIND.enumeration: {
      const values = indexes.map((index) => ({
        name: text(u32(12 + index * 8)),
        value: u32(16 + index * 8),
      }))
      return {
        type: { ...base, kind: 'enum', size: sizeOrType, values },
        next: at + 12 + count * 8,
      }
    }
    case KIND.typedef:
    case KIND.volatile:
    case KIND.constant:
    case KIND.restrict:
      return { type: { ...base, kind: 'alias', elementType: sizeOrType }, next: at + 12 }
    case KIND.pointer:
    case KIND.forward:
    case KIND.function:
    case KIND.float:
      return { type: undefined, next: at + 12 }
    case KIND.functionPrototype:
      return { type: undefined, next: at + 12 + count * 8 }
    case KIND.variable:
      return { type: undefined, next: at + 16 }
    case KIND.dataSection:
      return { type: undefined, next: at + 12 + count * 12 }
    default:
      throw new Error(`BTF kind ${kind} is not known`)
  }
}

const KIND = {
  integer: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enumeration: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  constant: 10,
  restrict: 11,
  function: 12,
  functionPrototype: 13,
  variable: 14,
  dataSection: 15,
  float: 16,
} as const
