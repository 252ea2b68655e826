/** Receivers of groups at rest: the message `GroupReceiver`; addresses as they stand on the wire. */
import type { StoredRecord } from '../control/stored-record.js'
import { ipAddress } from '../lisp/address.js'
import { readAfiAddress, writeAfiAddress } from '../lisp/afi.js'
import { byteReader } from '../lisp/byte-reader.js'
import { byteWriter, writtenBytes } from '../lisp/byte-writer.js'

type GroupReceiver = Extract<StoredRecord, { kind: 'group-receiver' }>

export interface StoredGroupReceiver {
  readonly name: string
  readonly owner: string
  readonly address: Uint8Array
  readonly level: number
  readonly nonce: Uint8Array
  /** Empty of what is no relay. */
  readonly target: Uint8Array
  readonly site: string
  readonly keyId: number
  readonly authenticationLength: number
  /** Empty: of a relay, or below none. */
  readonly below: string
}

export function groupReceiverMessage(record: GroupReceiver): Record<string, unknown> {
  const { name, owner, address, level, nonce, below, relay } = record
  const writer = byteWriter()
  writeAfiAddress(writer, address)
  const about = relay === undefined ? {} : { ...relay, target: relay.target.bytes }
  const counter = new Uint8Array(8)
  new DataView(counter.buffer).setBigUint64(0, nonce)
  return { name, owner, level, nonce: counter, address: writtenBytes(writer), below, ...about }
}

/** Throws like every decoder here when the address cannot be read. */
export function groupReceiverOf(message: StoredGroupReceiver): GroupReceiver {
  const { name, owner, level, target, site, keyId, authenticationLength, below } = message
  const address = readAfiAddress(byteReader(new Uint8Array(message.address)), 'address')
  const counter = new Uint8Array(message.nonce)
  const nonce = new DataView(counter.buffer).getBigUint64(0)
  const about = { kind: 'group-receiver', name, owner, level, address, nonce } as const
  if (target.length === 0) return below === '' ? about : { ...about, below }
  const rloc = ipAddress(new Uint8Array(target))
  return { ...about, relay: { target: rloc, site, keyId, authenticationLength } }
}
