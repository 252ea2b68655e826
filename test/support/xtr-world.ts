/**
 * Several nodes in one process: virtual time, links of fixed delay, and for every xTR a datapath that
 * does what datapath.ts promises: holds, releases in order, redirects, reports.
 *
 * Packets are numbers addressed to an EID. An endpoint is attached to one site or to none; a packet
 * delivered where it is not is lost, as on a real segment. Nothing here is random: a run is its script.
 */
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Command, CommandResult } from '../../src/control/command.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { DatapathOperation, Encapsulation } from '../../src/control/datapath-operation.js'
import type { Event } from '../../src/control/event.js'
import type { Node, Output } from '../../src/control/input-output.js'
import { createNode } from '../../src/control/node.js'
import { formatIpAddress, type MacAddress } from '../../src/lisp/address.js'
import {
  coversEid,
  type Eid,
  type EidPrefix,
  formatEid,
  formatEidPrefix,
} from '../../src/lisp/eid.js'
import { decodeMessage } from '../../src/lisp/message.js'
import { createExpiryHeap } from '../../src/tables/expiry-heap.js'
import { anAddress, anEid, someCapabilities } from './builders.js'

interface Packet {
  readonly source: Eid
  readonly destination: Eid
  readonly number: number
  hops: number
}

interface Held {
  readonly packet: Packet
  readonly at: number
}

type MapCacheOperation = Extract<DatapathOperation, { kind: 'put-map-cache' }>
type LocalEidOperation = Extract<DatapathOperation, { kind: 'put-local-eid' }>

interface Site {
  readonly name: string
  readonly config: NodeConfig
  readonly node: Node
  readonly mapCache: Map<string, MapCacheOperation>
  readonly localEids: Map<string, LocalEidOperation>
  readonly held: Map<string, Held[]>
  readonly expected: Map<string, Held[]>
  readonly lastUsed: Map<string, number>
  readonly lastReport: Map<string, number>
  /** Events on their way to the node. */
  readonly raised: DatapathEvent[]
  armedAt: number | undefined
}

export interface Delivery {
  readonly eid: string
  readonly number: number
  readonly at: number
  readonly site: string
}

export interface WorldOptions {
  readonly latencyMs?: number
  /** Decides over every control datagram; false loses it. */
  readonly carries?: (
    kind: string,
    from: string,
    to: string,
    at: number,
    bytes: Uint8Array,
  ) => boolean
}

export function createWorld(
  configs: Readonly<Record<string, NodeConfig>>,
  options: WorldOptions = {},
) {
  const latencyMs = options.latencyMs ?? 5
  let now = 0
  /** What happens at a moment, in the order in which it was arranged. */
  const due = new Map<number, (() => void)[]>()
  const moments = createExpiryHeap<number>()
  const endpoints = new Map<string, { site: string | undefined; mac: MacAddress }>()
  const deliveries: Delivery[] = []
  const drops: { number: number; reason: string; site: string; at: number }[] = []
  const events: { at: number; site: string; event: Event }[] = []
  const results = new Map<string, { at: number; result: CommandResult }>()
  const announced: string[] = []
  const solicited: { at: number; site: string; eid: string }[] = []
  const sites = new Map<string, Site>()
  const byRloc = new Map<string, Site>()

  /** Later entries of the same moment stand behind earlier ones. */
  const at = (moment: number, run: () => void): void => {
    const there = due.get(moment)
    if (there !== undefined) there.push(run)
    else {
      due.set(moment, [run])
      moments.add(moment, moment)
    }
  }

  function feed(site: Site, give: (outputs: Output[]) => void): void {
    const outputs: Output[] = []
    give(outputs)
    for (const output of outputs) perform(site, output)
    arm(site)
  }

  function arm(site: Site): void {
    const wanted = site.node.deadline()
    if (wanted === undefined || wanted === site.armedAt) return
    site.armedAt = wanted
    at(Math.max(now, wanted), () => {
      if (site.armedAt !== wanted) return
      site.armedAt = undefined
      feed(site, (outputs) => site.node.handle({ kind: 'deadline' }, now, outputs))
    })
  }

  function perform(site: Site, output: Output): void {
    switch (output.kind) {
      case 'send': {
        const target = byRloc.get(formatIpAddress(output.to))
        const message = decodeMessage(output.bytes)
        const kind = message.kind === 'move' ? `move ${message.phase}` : message.kind
        const { from, to, bytes } = output
        const carried =
          options.carries?.(kind, site.name, target?.name ?? 'nobody', now, bytes) ?? true
        if (target === undefined || !carried) return
        const input = { kind: 'datagram', from, fromPort: 4342, to, bytes } as const
        at(now + latencyMs, () => feed(target, (more) => target.node.handle(input, now, more)))
        return
      }
      case 'persist':
        for (const one of output.then) perform(site, one)
        return
      case 'event':
        events.push({ at: now, site: site.name, event: output.event })
        return
      case 'result':
        results.set(output.commandId, { at: now, result: output.result })
        return
      case 'datapath': {
        operate(site, output.operation)
        return
      }
    }
  }

  /** Events of one moment come in one batch, as from a ring. */
  function raise(site: Site, event: DatapathEvent): void {
    site.raised.push(event)
    if (site.raised.length > 1) return
    at(now, () => {
      const events = site.raised.splice(0)
      const last = events.pop()!
      feed(site, (outputs) => {
        for (const one of events)
          site.node.handle({ kind: 'datapath', event: one, more: true }, now, outputs)
        site.node.handle({ kind: 'datapath', event: last }, now, outputs)
      })
    })
  }

  /** At most one report of a kind per interval. */
  function mayReport(site: Site, key: string, everyMs: number): boolean {
    if (now - (site.lastReport.get(key) ?? Number.NEGATIVE_INFINITY) < everyMs) return false
    site.lastReport.set(key, now)
    return true
  }

  function operate(site: Site, operation: DatapathOperation): void {
    switch (operation.kind) {
      case 'put-map-cache':
        site.mapCache.set(formatEidPrefix(operation.eidPrefix), operation)
        for (const eid of operation.release)
          release(site, site.held, eid, (packet) => encapsulate(site, packet))
        return
      case 'put-local-eid':
        site.localEids.set(formatEidPrefix(operation.eidPrefix), operation)
        for (const eid of operation.release)
          release(site, site.expected, eid, (packet) => decapsulated(site, packet, undefined))
        return
      case 'delete-map-cache':
        site.mapCache.delete(formatEidPrefix(operation.eidPrefix))
        return
      case 'delete-local-eid':
        site.localEids.delete(formatEidPrefix(operation.eidPrefix))
        return
      case 'drop-held':
        for (const table of [site.held, site.expected]) {
          const key = formatEid(operation.eid)
          for (const { packet } of table.get(key) ?? []) drop(site, packet, operation.reason)
          table.delete(key)
        }
        return
      case 'query-usage': {
        const used = site.lastUsed.get(formatEidPrefix(operation.eidPrefix))
        const idleMs = used === undefined ? undefined : now - used
        const { eidPrefix } = operation
        raise(site, { kind: 'map-cache-usage', eidPrefix, packets: 1n, bytes: 1n, idleMs })
        return
      }
      case 'announce-gateway':
        announced.push(`${site.name} ${formatEid(operation.eid)}`)
        return
      case 'put-replication':
      case 'delete-replication':
      case 'query-replication':
        return
      case 'solicit-endpoint': {
        // Only what is on this very segment can answer.
        const eid = formatEid(operation.eid)
        solicited.push({ at: now, site: site.name, eid })
        const where = endpoints.get(eid)
        if (where?.site === site.name) at(now + 1, () => showEndpoint(site, eid, where.mac))
        return
      }
    }
  }

  /** A frame with this source EID on the segment of `site`. */
  function showEndpoint(site: Site, eid: string, mac: MacAddress): void {
    const entry = site.localEids.get(formatEidPrefix({ ...anEid(eid), maskLength: bits(eid) }))
    if (entry?.state === 'local' && !entry.dynamicPrefix) return
    if (!mayReport(site, `seen ${eid}`, 50)) return
    const place = site.config.dynamicEidPrefixes.find((one) => coversEid(one.eidPrefix, anEid(eid)))
    const interfaceName = place?.interfaceName ?? 'site'
    const what = { eid: anEid(eid), mac, interfaceName, how: 'arp' } as const
    raise(site, { kind: 'local-eid-seen', ...what })
  }

  function release(
    site: Site,
    table: Map<string, Held[]>,
    eid: Eid,
    forward: (packet: Packet) => void,
  ): void {
    const waiting = table.get(formatEid(eid))
    table.delete(formatEid(eid))
    for (const { packet } of waiting ?? []) forward(packet)
    const heldMs = now - (waiting?.[0]?.at ?? now)
    raise(site, { kind: 'hold-released', eid, packets: waiting?.length ?? 0, heldMs })
  }

  function drop(site: Site, packet: Packet, reason: string): void {
    drops.push({ number: packet.number, reason, site: site.name, at: now })
  }

  function hold(
    site: Site,
    table: Map<string, Held[]>,
    packet: Packet,
    why: 'map-cache-miss' | 'endpoint-expected',
  ): void {
    const key = formatEid(packet.destination)
    const waiting = table.get(key)
    if (waiting !== undefined) {
      waiting.push({ packet, at: now })
      return
    }
    table.set(key, [{ packet, at: now }])
    raise(site, { kind: 'packet-held', eid: packet.destination, source: packet.source, why })
  }

  /** The ITR's program: longest match, then hold, native, drop or forward. */
  function encapsulate(site: Site, packet: Packet): void {
    const entry = longest(site.mapCache, packet.destination)
    if (entry !== undefined) site.lastUsed.set(formatEidPrefix(entry.eidPrefix), now)
    if (entry === undefined || entry.action === 'hold')
      hold(site, site.held, packet, 'map-cache-miss')
    else if (entry.action === 'drop') drop(site, packet, 'mapping-says-drop')
    else if (entry.action === 'native') deliver(site, packet)
    else transmit(site, packet, entry.encapsulations[0]!)
  }

  function transmit(site: Site, packet: Packet, outer: Encapsulation): void {
    packet.hops += 1
    const target = byRloc.get(formatIpAddress(outer.locator.rloc))
    if (target === undefined || packet.hops > 8) {
      drop(site, packet, 'no-route-to-rloc')
      return
    }
    at(now + latencyMs, () => decapsulated(target, packet, formatIpAddress(outer.source)))
  }

  /** The ETR's program; `sender` is undefined for a packet that comes out of the hold. */
  function decapsulated(site: Site, packet: Packet, sender: string | undefined): void {
    const entry = longest(site.localEids, packet.destination)
    const eid = packet.destination
    if (entry === undefined || entry.dynamicPrefix) drop(site, packet, 'unknown-eid')
    else if (entry.state === 'standby') hold(site, site.expected, packet, 'endpoint-expected')
    else if (entry.state === 'away') {
      if (sender !== undefined && mayReport(site, `away ${formatEid(eid)} ${sender}`, 100))
        raise(site, { kind: 'away-eid-hit', eid, sender: anAddress(sender) })
      encapsulate(site, packet)
    } else {
      if (
        entry.reportSenders &&
        sender !== undefined &&
        mayReport(site, `from ${formatEid(eid)} ${sender}`, 1000)
      )
        raise(site, { kind: 'sender-seen', eid, sender: anAddress(sender) })
      deliver(site, packet)
    }
  }

  function deliver(site: Site, packet: Packet): void {
    const eid = formatEid(packet.destination)
    if (endpoints.get(eid)?.site !== site.name) {
      drop(site, packet, 'endpoint-not-here')
      return
    }
    deliveries.push({ eid, number: packet.number, at: now, site: site.name })
  }

  for (const [index, [name, config]] of Object.entries(configs).entries()) {
    const site: Site = {
      name,
      config,
      node: createNode(config, someCapabilities(index + 1)),
      mapCache: new Map(),
      localEids: new Map(),
      held: new Map(),
      expected: new Map(),
      lastUsed: new Map(),
      lastReport: new Map(),
      raised: [],
      armedAt: undefined,
    }
    sites.set(name, site)
    for (const { address } of config.rlocs) byRloc.set(formatIpAddress(address), site)
  }
  const siteOf = (name: string): Site => {
    const site = sites.get(name)
    if (site === undefined) throw new Error(`no site ${name}`)
    return site
  }
  for (const site of sites.values()) {
    const state = { records: [], localEids: [], mapCache: [] }
    feed(site, (outputs) => site.node.handle({ kind: 'restored', state }, now, outputs))
  }

  return {
    at,
    deliveries,
    drops,
    events,
    results,
    announced,
    solicited,
    siteOf,
    now: () => now,
    /** Lets everything happen up to and including `until`. */
    run(until: number): void {
      let steps = 0
      for (let first = moments.first(); first !== undefined; first = moments.first()) {
        if (first.at > until) break
        now = first.at
        // It grows while it runs: what is arranged for this very moment.
        const runs = due.get(now)!
        for (let index = 0; index < runs.length; index += 1) {
          steps += 1
          if (steps > 500_000) throw new Error('a world without end')
          runs[index]!()
        }
        due.delete(now)
        moments.remove(first)
      }
      now = until
    },
    /** Connects the endpoint of these EIDs to a site, or to none. */
    attach(eids: readonly string[], site: string | undefined, mac: MacAddress = MAC): void {
      for (const eid of eids) endpoints.set(eid, { site, mac })
    },
    /** The endpoint says something at the site it is attached to: what a gratuitous ARP does. */
    speak(eid: string): void {
      const where = endpoints.get(eid)
      if (where?.site !== undefined) showEndpoint(siteOf(where.site), eid, where.mac)
    },
    /** A host behind `site` sends one numbered packet to `destination`. */
    send(site: string, source: string, destination: string, number: number): void {
      encapsulate(siteOf(site), {
        source: anEid(source),
        destination: anEid(destination),
        number,
        hops: 0,
      })
    },
    command(site: string, commandId: string, command: Command): void {
      const { node } = siteOf(site)
      feed(siteOf(site), (outputs) =>
        node.handle({ kind: 'command', commandId, command }, now, outputs),
      )
    },
    namesAt: (site: string) =>
      events.filter((one) => one.site === site).map((one) => one.event.name),
  }
}

export const MAC: MacAddress = new Uint8Array([2, 0, 0, 0, 0, 0x11])

function bits(eid: string): number {
  return anEid(eid).address.bytes.length * 8
}

function longest<Entry extends { readonly eidPrefix: EidPrefix }>(
  table: ReadonlyMap<string, Entry>,
  eid: Eid,
): Entry | undefined {
  let best: Entry | undefined
  for (const entry of table.values())
    if (
      coversEid(entry.eidPrefix, eid) &&
      entry.eidPrefix.maskLength >= (best?.eidPrefix.maskLength ?? 0)
    )
      best = entry
  return best
}
