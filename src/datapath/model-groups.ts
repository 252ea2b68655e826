/**
 * Packets to multicast groups in the model: native/bpf/replicate.h and copy.h on packets without bytes.
 *
 * Which copies there are is asked of model-replication.ts; here is what may keep one from leaving: a source
 * that is not of the site, a scope, the TTL, the size. The first copy is the packet itself.
 */
import type { Encapsulation } from '../control/datapath-operation.js'
import type { MacAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import {
  formatGroup,
  isLinkScoped,
  type MulticastGroup,
} from '../lisp/multicast/multicast-group.js'
import type { BpfDropReasonName, TALLY } from './abi.generated.js'
import type { ModelMappings } from './model-mappings.js'
import { type ModelPacket, OVERHEAD_BYTES } from './model-packet.js'
import type { ModelReplication } from './model-replication.js'
import type { ModelSurroundings } from './model-surroundings.js'

/** What this needs of the datapath. */
export interface ModelGroupsDoor {
  drop(packet: ModelPacket, reason: Exclude<BpfDropReasonName, 'none'>): void
  tally(name: keyof typeof TALLY): void
  /** Whether an event of this name may be raised now. */
  mayReport(name: string): boolean
}

export interface ModelGroups {
  fromSite(packet: ModelPacket, interfaceName: string): void
  fromCore(packet: ModelPacket, outerSource: Rloc): void
}

export function createModelGroups(
  mappings: ModelMappings,
  replication: ModelReplication,
  around: ModelSurroundings,
  door: ModelGroupsDoor,
): ModelGroups {
  /** The packet, then copies of it as it is now. */
  function copier(packet: ModelPacket): { next(): ModelPacket; readonly used: () => boolean } {
    const template = { ...packet }
    let used = false
    return {
      next() {
        if (!used) {
          used = true
          return packet
        }
        const copy = { ...template }
        around.copied?.(copy)
        return copy
      },
      used: () => used,
    }
  }

  function transmit(copy: ModelPacket, { locator, source, pathMtu, gpe = false }: Encapsulation) {
    if (copy.sizeBytes + OVERHEAD_BYTES[locator.rloc.family] > pathMtu)
      return door.drop(copy, 'group-copy-too-big')
    door.tally('group-copy')
    around.transmit(copy, source, locator.rloc, { gpe, fields: undefined })
  }

  function deliver(copy: ModelPacket, interfaceName: string): void {
    door.tally('group-delivered')
    around.deliver(copy, interfaceName, groupMac(copy.flow.destination))
  }

  return {
    fromSite(packet, interfaceName) {
      const group = groupOf(packet)
      const reportSource = (): void => {
        if (door.mayReport(`multicast-source-seen ${formatGroup(group)}`))
          around.raise({ kind: 'multicast-source-seen', group, interfaceName })
      }
      if (isLinkScoped(group.group) || packet.ttl <= 1) return around.native(packet)
      const source = mappings.sourceOf(packet)
      // Before its move is certain an endpoint is still here: neighbours are not answered for it.
      const isGone = source?.form.state === 'away' && source.form.proxyNeighbours
      if (source === undefined || isGone) {
        door.tally('foreign-group-source')
        reportSource()
        return around.native(packet)
      }
      const isNested = (packet.lispHeaders ?? 0) >= 2
      const { ttl } = packet
      packet.ttl -= 1
      const copies = copier(packet)
      const isExact = replication.fromSite(group, interfaceName, {
        now: around.now,
        sizeBytes: packet.sizeBytes,
        transmit: (copy) => {
          if (!isNested) transmit(copies.next(), copy)
        },
        deliver: (name) => {
          if (!isNested) deliver(copies.next(), name)
        },
      })
      if (!isExact) reportSource()
      if (copies.used()) return door.tally('replicated')
      packet.ttl = ttl
      if (isNested) door.drop(packet, 'nested')
      else around.native(packet)
    },
    fromCore(packet, outerSource) {
      const group = groupOf(packet)
      if (isLinkScoped(group.group)) return door.drop(packet, 'group-scope')
      if (mappings.sourceOf(packet)?.form.state === 'local') return door.drop(packet, 'own-source')
      const copies = copier(packet)
      let isOver = false
      const isKnown = replication.fromCore(group, outerSource, {
        now: around.now,
        sizeBytes: packet.sizeBytes,
        transmit: (encapsulation) => {
          // At the end of its TTL it is dropped once, not for each copy.
          if (isOver) return
          const copy = copies.next()
          isOver = copy.ttl <= 1
          if (isOver) return door.drop(copy, 'ttl-expired')
          copy.ttl -= 1
          transmit(copy, encapsulation)
        },
        deliver: (name) => {
          if (!copies.used()) door.tally('decapsulated')
          deliver(copies.next(), name)
        },
      })
      if (isKnown) door.tally('replicated')
      else door.drop(packet, 'unknown-group')
    },
  }
}

function groupOf({ flow: { source, destination } }: ModelPacket): MulticastGroup {
  const { instanceId, address } = destination
  return { instanceId, source: source.address, group: address }
}

/** RFC 1112 §6.4, RFC 2464 §7. */
function groupMac({ address }: Eid): MacAddress {
  const { family, bytes } = address
  if (family === 6) return Uint8Array.of(0x33, 0x33, ...bytes.subarray(12))
  return Uint8Array.of(0x01, 0x00, 0x5e, bytes[1]! & 0x7f, bytes[2]!, bytes[3]!)
}
