/**
 * Where a packet of the model goes once it is decided that it goes: encapsulated, to its endpoint, to
 * another tunnel router, out of LISP, or out of the hold to any of these.
 *
 * native/bpf/encap.h, interwork.h and hold_ingress on packets without bytes: the same order of checks,
 * the same names of drops. Which packet waits first is decided in model-datapath.ts.
 */
import type { ClosedFields } from '../control/closed-network/closed-vocabulary.js'
import { equalIpAddresses } from '../lisp/address.js'
import type { Rloc } from '../lisp/locator.js'
import { LOCATOR_BUCKETS } from '../tables/locator-selection.js'
import type { BpfDropReasonName, TALLY } from './abi.generated.js'
import type { HoldPurpose } from './model-hold.js'
import {
  isPresent,
  type LocalForm,
  type MapCacheForm,
  type ModelMappings,
} from './model-mappings.js'
import { type ModelFlow, type ModelPacket, OVERHEAD_BYTES } from './model-packet.js'
import { isListed, type ModelRelay } from './model-relay.js'
import type { ModelSurroundings } from './model-surroundings.js'
import type { ModelEntry } from './model-table.js'

/** What sending needs of the datapath. */
export interface ModelSendingDoor {
  drop(packet: ModelPacket, reason: Exclude<BpfDropReasonName, 'none'>): void
  tally(name: keyof typeof TALLY): void
  hold(packet: ModelPacket, purpose: HoldPurpose): void
  /** What a header says in a closed network; undefined elsewhere. */
  closedFields(flow: ModelFlow, to: Rloc): ClosedFields | undefined
}

export interface ModelSending {
  encapsulate(
    packet: ModelPacket,
    entry: ModelEntry<MapCacheForm>,
    what: 'encapsulated' | 'reencapsulated',
  ): void
  /** For an EID that is not here: RTR and PETR (native/bpf/interwork.h). */
  relay(packet: ModelPacket, outerSource: Rloc): void
  redirectAway(packet: ModelPacket): void
  deliver(packet: ModelPacket, entry: ModelEntry<LocalForm>): void
  leaveHold(purpose: HoldPurpose, packet: ModelPacket): void
}

export function createModelSending(
  mappings: ModelMappings,
  relays: ModelRelay,
  around: Pick<ModelSurroundings, 'now' | 'transmit' | 'deliver' | 'native'>,
  door: ModelSendingDoor,
): ModelSending {
  function chosenFor({ flow }: ModelPacket, { form }: ModelEntry<MapCacheForm>) {
    // Not the bits of the source port: ECMP in the core and locators choose independently.
    return form.chosen[form.buckets[(flow.hash >>> 20) & (LOCATOR_BUCKETS - 1)]!]
  }

  function encapsulate(
    packet: ModelPacket,
    entry: ModelEntry<MapCacheForm>,
    what: 'encapsulated' | 'reencapsulated',
  ): void {
    const encapsulation = chosenFor(packet, entry)
    if (encapsulation === undefined) {
      door.drop(packet, 'no-locator')
      return
    }
    if (packet.ttl <= 1) {
      door.drop(packet, 'ttl-expired')
      return
    }
    const { locator, source, pathMtu, gpe = false } = encapsulation
    if (packet.sizeBytes + OVERHEAD_BYTES[locator.rloc.family] > pathMtu) {
      door.drop(packet, 'packet-too-big')
      return
    }
    if ((packet.lispHeaders ?? 0) >= 2) {
      door.drop(packet, 'nested')
      return
    }
    packet.ttl -= 1
    if (what === 'reencapsulated') packet.redirects += 1
    entry.packets += 1
    entry.bytes += packet.sizeBytes
    entry.lastUsedAt = around.now()
    door.tally(what)
    const fields = encapsulation.closed ? door.closedFields(packet.flow, locator.rloc) : undefined
    around.transmit(packet, source, locator.rloc, { gpe, fields })
  }

  /** PETR: to the kernel's own routing, when the source is of a site that we serve. */
  function letOut(packet: ModelPacket): void {
    if (!relays.petr) door.drop(packet, 'native-at-rtr')
    else if (!isListed(relays.sites, packet.flow.source)) door.drop(packet, 'unproxied-source')
    else if (packet.ttl <= 1) door.drop(packet, 'ttl-expired')
    else {
      packet.ttl -= 1
      door.tally('proxied')
      around.native(packet)
    }
  }

  /** For an EID that is not here: RTR and PETR (native/bpf/interwork.h). */
  function relay(packet: ModelPacket, outerSource: Rloc): void {
    const entry = relays.rtr ? mappings.mappingOf(packet) : undefined
    const action = entry?.form.action
    if (!relays.rtr) letOut(packet)
    else if (entry === undefined || entry.draining || action === 'hold') {
      packet.relayed = true
      door.hold(packet, 'map-cache-miss')
    } else if (action === 'drop') door.drop(packet, 'mapping-says-drop')
    else if (action === 'native') letOut(packet)
    else {
      const next = chosenFor(packet, entry)?.locator.rloc
      const back = next !== undefined && equalIpAddresses(next, outerSource)
      if (back) door.drop(packet, 'loop')
      else encapsulate(packet, entry, 'reencapsulated')
    }
  }

  /** By the host entry alone: only that can say where a single EID has gone. */
  function redirectAway(packet: ModelPacket): void {
    const entry = mappings.mappingHost(packet.flow.destinationText)
    if (entry === undefined || entry.form.action !== 'forward') door.drop(packet, 'away-unmapped')
    else encapsulate(packet, entry, 'reencapsulated')
  }

  function deliver(packet: ModelPacket, entry: ModelEntry<LocalForm>): void {
    entry.packets += 1
    entry.bytes += packet.sizeBytes
    entry.lastUsedAt = around.now()
    around.deliver(packet, entry.form.interfaceName, entry.form.mac)
  }

  /** Nothing goes back in: what has no place to go is dropped. */
  function leaveHold(purpose: HoldPurpose, packet: ModelPacket): void {
    packet.mark = undefined
    if (purpose === 'map-cache-miss') releaseToCore(packet)
    else releaseToSite(packet)
  }

  function releaseToCore(packet: ModelPacket): void {
    const entry = mappings.mappingOf(packet)
    if (entry === undefined) {
      // Meanwhile the EID may have come here.
      const local = mappings.localOf(packet)
      if (local !== undefined && isPresent(local)) deliver(packet, local)
      else door.drop(packet, 'no-hold')
      return
    }
    const { action } = entry.form
    const what = packet.relayed ? 'reencapsulated' : 'encapsulated'
    if (action === 'forward') encapsulate(packet, entry, what)
    else if (action === 'drop') door.drop(packet, 'mapping-says-drop')
    else if (action === 'native' && packet.relayed) letOut(packet)
    else if (action === 'native') {
      door.tally('native')
      around.native(packet)
    } else door.drop(packet, 'no-hold')
  }

  function releaseToSite(packet: ModelPacket): void {
    const local = mappings.localOf(packet)
    const state = local?.form.state
    if (local !== undefined && state === 'local') deliver(packet, local)
    else if (state === 'away') redirectAway(packet)
    else door.drop(packet, state === 'standby' ? 'no-hold' : 'unknown-eid')
  }

  return { encapsulate, relay, redirectAway, deliver, leaveHold }
}
