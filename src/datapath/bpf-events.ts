/**
 * Records of the `events` ring buffer as DatapathEvents.
 *
 * Interface indexes become names; a record of an interface or family that is not known is counted
 * and left out. Oversize packets are not the node's business: they are handed to `onPacketTooBig`.
 */
import type { ClosedEvent } from '../control/closed-network/closed-vocabulary.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { IpAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import {
  type BpfEvent,
  type BpfSeenByName,
  DOUBT,
  decodeBpfEvent,
  EVENT_BYTES,
  EVENT_TYPE,
  SEEN_BY,
} from './abi.generated.js'
import { addressOf, eidOf } from './eid-keys.js'

/** An inner packet that did not fit in the tunnel. */
export interface PacketTooBig {
  readonly instanceId: number
  readonly interfaceName: string
  /** Largest inner packet that would fit, in bytes. */
  readonly mtu: number
  /** The packet from its IP header, cut. */
  readonly head: Uint8Array
}

export interface EventTranslation {
  readonly interfaceName: (index: number) => string | undefined
  readonly raise: (event: DatapathEvent) => void
  readonly onPacketTooBig: (packet: PacketTooBig) => void
}

/** Returns how many records were not understood. */
export function takeRecords(
  records: Uint8Array,
  count: number,
  translation: EventTranslation,
): number {
  let ignored = 0
  for (let index = 0; index < count; index += 1) {
    const event = decodeBpfEvent(records, index * EVENT_BYTES)
    if (!takeEvent(event, translation)) ignored += 1
  }
  return ignored
}

function takeEvent(event: BpfEvent, translation: EventTranslation): boolean {
  const { raise } = translation
  const eid = eidOf(event.eid)
  const peer = addressOf(event.peerFamily, event.peer)
  const interfaceName = translation.interfaceName(event.interfaceIndex)
  if (event.type === EVENT_TYPE['mac-seen']) {
    if (interfaceName === undefined) return false
    raise({ kind: 'mac-seen', mac: event.mac, interfaceName })
    return true
  }
  if (isNonceEvent(event.type)) {
    if (peer === undefined) return false
    raise({ kind: 'nonce-echo', rloc: peer, echoed: event.type === EVENT_TYPE['nonce-echoed'] })
    return true
  }
  if (event.type === EVENT_TYPE['path-too-narrow']) {
    if (peer === undefined) return false
    raise({ kind: 'path-too-narrow', rloc: peer, packet: headOf(event) })
    return true
  }
  if (eid === undefined) return false
  if (event.type === EVENT_TYPE['group-source-seen']) {
    if (interfaceName === undefined || peer === undefined) return false
    const group = { instanceId: eid.instanceId, source: peer, group: eid.address }
    raise({ kind: 'multicast-source-seen', group, interfaceName })
    return true
  }
  const closed = closedEvent(event, eid, peer)
  if (closed !== undefined) {
    raise(closed)
    return true
  }
  switch (event.type) {
    case EVENT_TYPE['local-eid-seen']: {
      const how = seenBy(event.detail)
      if (interfaceName === undefined || how === undefined) return false
      raise({ kind: 'local-eid-seen', eid, mac: event.mac, interfaceName, how })
      return true
    }
    case EVENT_TYPE['away-eid-hit']:
      raise({ kind: 'away-eid-hit', eid, sender: peer })
      return true
    case EVENT_TYPE['sender-seen']:
      if (peer === undefined) return false
      raise({ kind: 'sender-seen', eid, sender: peer })
      return true
    case EVENT_TYPE['unknown-eid']:
      if (peer === undefined) return false
      raise({ kind: 'unknown-eid', eid, sender: peer })
      return true
    case EVENT_TYPE['eid-wanted']:
      if (peer === undefined) return false
      raise({ kind: 'eid-wanted', eid, source: { instanceId: eid.instanceId, address: peer } })
      return true
    case EVENT_TYPE['packet-too-big']: {
      if (interfaceName === undefined) return false
      const { instanceId } = eid
      const head = headOf(event)
      translation.onPacketTooBig({ instanceId, interfaceName, mtu: event.mtu, head })
      return true
    }
    default:
      return false
  }
}

function headOf({ head, headLength }: BpfEvent): Uint8Array {
  return head.subarray(0, Math.min(headLength, head.length))
}

function isNonceEvent(type: number): boolean {
  return type === EVENT_TYPE['nonce-echoed'] || type === EVENT_TYPE['nonce-missed']
}

/** Undefined when it is none of a closed network, or says too little. */
function closedEvent(
  event: BpfEvent,
  eid: Eid,
  sender: IpAddress | undefined,
): ClosedEvent | undefined {
  if (sender === undefined) return undefined
  switch (event.type) {
    case EVENT_TYPE['source-doubted']: {
      const why = event.detail === DOUBT['rloc'] ? 'rloc' : 'map-version'
      return { kind: 'source-doubted', eid, sender, why }
    }
    case EVENT_TYPE['status-bits']:
      return { kind: 'status-bits-changed', eid, sender, statusBits: event.detail }
    case EVENT_TYPE['stale-version']:
      return { kind: 'stale-map-version', eid, sender }
    case EVENT_TYPE['source-unmapped']:
      return { kind: 'source-unmapped', eid, sender }
    default:
      return undefined
  }
}

function seenBy(detail: number): BpfSeenByName | undefined {
  const found = Object.entries(SEEN_BY).find(([, value]) => value === detail)
  return found?.[0] as BpfSeenByName | undefined
}
