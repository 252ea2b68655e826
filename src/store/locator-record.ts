/**
 * Locators at rest. One that is more than an address, as an explicit locator path is, keeps its LCAF
 * as it stands on the wire (RFC 8060); one that cannot be read back is the plain address again.
 */
import { ipAddress } from '../lisp/address.js'
import { readAfiAddress, writeAfiAddress } from '../lisp/afi.js'
import type { LcafAddress } from '../lisp/afi-address.js'
import { byteReader } from '../lisp/byte-reader.js'
import { byteWriter, writtenBytes } from '../lisp/byte-writer.js'
import type { Locator } from '../lisp/locator.js'

export type StoredLocator = Omit<Locator, 'rloc' | 'structure'> & {
  readonly rloc: Uint8Array
  /** AFI and address; empty for a plain address. */
  readonly structure: Uint8Array
}

/** The fields of the message `Locator`. */
export function storedLocator({ rloc, structure, ...terms }: Locator): StoredLocator {
  const writer = byteWriter()
  if (structure !== undefined) writeAfiAddress(writer, structure)
  return { ...terms, rloc: rloc.bytes, structure: writtenBytes(writer) }
}

/** Back from the message. */
export function locatorOf({ rloc, structure, ...terms }: StoredLocator): Locator {
  const plain = { ...terms, rloc: ipAddress(new Uint8Array(rloc)) }
  if (structure.length === 0) return plain
  const read = structureOf(new Uint8Array(structure))
  return read === undefined ? plain : { ...plain, structure: read }
}

function structureOf(bytes: Uint8Array): LcafAddress | undefined {
  try {
    const value = readAfiAddress(byteReader(bytes), 'structure')
    return value.kind === 'ip' || value.kind === 'none' ? undefined : (value as LcafAddress)
  } catch {
    return undefined
  }
}
