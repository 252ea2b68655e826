/**
 * Hosts and their segments: who is plugged in where, who sends numbered packets to whom, who
 * announces itself, and how a host moves from one socket to another.
 *
 * A segment is a site interface. A host reaches another one there directly while it remembers it as a
 * neighbour, else through the gateway, which is the node's datapath. A neighbour that is gone is
 * remembered until the gateway announces itself for it, or until neighbour detection gives it up.
 */
import type { Instant } from '../control/capabilities.js'
import type { ModelDatapath } from '../datapath/model-datapath.js'
import { INITIAL_TTL, type ModelPacket, modelFlow } from '../datapath/model-packet.js'
import type { Eid } from '../lisp/eid.js'
import { formatEid } from '../lisp/eid.js'
import type { FlowBooks, Ledger } from './ledger.js'
import type { Timeline } from './timeline.js'
import type { HostSpecification, Socket } from './topology.js'

export interface Host {
  readonly specification: HostSpecification
  readonly name: string
  /** Where it is; undefined while it is plugged in nowhere. */
  socket: Socket | undefined
  /** Since when it is there. */
  since: Instant
  /** Stopped where it is: what is delivered to it waits in its tap. */
  paused: boolean
}

export interface Traffic {
  readonly from: Host
  readonly to: Host
  readonly books: FlowBooks
}

export interface HostSurroundings {
  readonly timeline: Timeline
  readonly ledger: Ledger
  datapath(site: string): ModelDatapath | undefined
  lost(packet: ModelPacket, reason: string, where: string): void
  delivered(packet: ModelPacket, site: string): void
  /** A copy too many was delivered. */
  tooOften(packet: ModelPacket, site: string): void
  log(text: string): void
}

export interface Hosts {
  readonly all: readonly Host[]
  byName(name: string): Host
  owner(eidText: string): Host | undefined
  /** Moves the link; undefined pulls the plug. Nothing is said on the segment. */
  attach(host: Host, socket: Socket | undefined): void
  /**
   * The machine stops where it is. What its tap holds is read when it runs there again, and lost when
   * it is attached elsewhere.
   */
  pause(host: Host): void
  /** The machine runs, where it stopped or at another socket. */
  resume(host: Host, socket: Socket): void
  /** Gratuitous ARP and unsolicited NA for each EID, or one RARP. */
  announce(host: Host, how: 'arp' | 'rarp'): void
  /** One flow between EIDs of one family and instance; undefined when there is none. */
  traffic(from: Host, to: Host, family: 4 | 6): Traffic | undefined
  /** Sends the next numbered packet of the flow; nothing while the sender is unplugged. */
  send(traffic: Traffic, sizeBytes: number): void
  /** What the datapath delivers, or leaves to the kernel's routing, at this site. */
  receive(packet: ModelPacket, site: string): void
  /** What the datapath sends on the segment itself. */
  frame(
    kind: 'announce-gateway' | 'solicit-endpoint',
    eid: Eid,
    site: string,
    interfaceName: string,
  ): void
}

/** How long a vanished neighbour is believed in: delay and probes of neighbour detection. */
const NEIGHBOUR_MS = 5000
/** How long a host takes to answer its segment. */
const ANSWER_MS = 0.2

export function createHosts(
  specifications: readonly HostSpecification[],
  around: HostSurroundings,
): Hosts {
  const { timeline, ledger } = around
  const owners = new Map<string, Host>()
  const taps = new Map<Host, ModelPacket[]>()
  /** site/interface/EID → believed in until. */
  const neighbours = new Map<string, Instant>()
  const all = specifications.map((specification): Host => {
    const socket = specification.sockets[specification.initial]
    const host = { specification, name: specification.name, socket, since: 0, paused: false }
    for (const eid of specification.eids) owners.set(formatEid(eid), host)
    return host
  })

  const neighbourKey = (site: string, eidText: string): string => `${site} ${eidText}`

  function deliver(packet: ModelPacket, site: string): void {
    const host = owners.get(packet.flow.destinationText)
    if (host?.socket?.site !== site) {
      around.lost(packet, 'endpoint-not-here', site)
      return
    }
    if (host.paused) {
      const tap = taps.get(host) ?? []
      taps.set(host, tap)
      tap.push(packet)
      return
    }
    around.delivered(packet, site)
    if (ledger.delivered(packet) > 0) around.tooOften(packet, site)
  }

  /** Empties the tap of a paused machine: read by it, or thrown away with it. */
  function emptyTap(host: Host, site: string, isRead: boolean): void {
    const tap = taps.get(host) ?? []
    taps.delete(host)
    for (const packet of tap)
      if (isRead) deliver(packet, site)
      else around.lost(packet, 'left-in-tap', site)
  }

  function speak(host: Host, eid: Eid): void {
    const { socket } = host
    if (socket === undefined || host.paused) return
    neighbours.set(neighbourKey(socket.site, formatEid(eid)), Number.POSITIVE_INFINITY)
    const how = eid.address.family === 4 ? 'arp' : 'neighbour-advertisement'
    const { mac } = host.specification
    around.datapath(socket.site)?.frameSeen(eid, mac, socket.interfaceName, how)
  }

  /** Whether the sender at this site takes the destination for a neighbour. */
  function isNeighbour(packet: ModelPacket, site: string): boolean {
    const key = neighbourKey(site, packet.flow.destinationText)
    const until = neighbours.get(key)
    if (until !== undefined && until <= timeline.now()) neighbours.delete(key)
    return until !== undefined && until > timeline.now()
  }

  return {
    all,
    byName(name) {
      const found = all.find((one) => one.name === name)
      if (found === undefined) throw new Error(`no host ${name}`)
      return found
    },
    owner: (eidText) => owners.get(eidText),
    attach(host, socket) {
      const before = host.socket
      host.socket = socket
      host.since = timeline.now()
      around.log(`${host.name}: at ${socket?.site ?? 'nowhere'}`)
      if (before === undefined || before.site === socket?.site) return
      for (const eid of host.specification.eids) {
        const key = neighbourKey(before.site, formatEid(eid))
        if (neighbours.has(key)) neighbours.set(key, timeline.now() + NEIGHBOUR_MS)
      }
    },
    pause(host) {
      host.paused = true
      around.log(`${host.name}: stops`)
    },
    resume(host, socket) {
      const before = host.socket
      host.paused = false
      around.log(`${host.name}: runs`)
      if (before !== undefined) emptyTap(host, before.site, before.site === socket.site)
      if (before?.site !== socket.site) this.attach(host, socket)
    },
    announce(host, how) {
      if (host.socket === undefined || host.paused) return
      around.log(`${host.name}: announces itself (${how})`)
      if (how === 'arp') for (const eid of host.specification.eids) speak(host, eid)
      else {
        const { site, interfaceName } = host.socket
        around.datapath(site)?.macSeen(host.specification.mac, interfaceName)
      }
    },
    traffic(from, to, family) {
      const source = from.specification.eids.find((one) => one.address.family === family)
      const destination = to.specification.eids.find(
        (one) => one.address.family === family && one.instanceId === source?.instanceId,
      )
      if (source === undefined || destination === undefined) return undefined
      const books = ledger.open(modelFlow(source, destination), `${from.name}→${to.name}/${family}`)
      return { from, to, books }
    },
    send({ from, books }, sizeBytes) {
      if (from.socket === undefined || from.paused) return
      const sequence = books.sentAt.length
      const packet = { flow: books.flow, sequence, sizeBytes, ttl: INITIAL_TTL, redirects: 0 }
      ledger.sent(packet)
      const { site, interfaceName } = from.socket
      if (isNeighbour(packet, site)) {
        const host = owners.get(packet.flow.destinationText)
        if (host?.socket?.site === site) deliver(packet, site)
        else around.lost(packet, 'stale-neighbour', site)
        return
      }
      const datapath = around.datapath(site)
      if (datapath === undefined) around.lost(packet, 'no-gateway', site)
      else datapath.fromSite(packet, from.specification.mac, interfaceName)
    },
    receive: deliver,
    frame(kind, eid, site, interfaceName) {
      const name = formatEid(eid)
      if (kind === 'announce-gateway') {
        neighbours.delete(neighbourKey(site, name))
        return
      }
      const host = owners.get(name)
      if (host?.socket?.site !== site || host.socket.interfaceName !== interfaceName) return
      timeline.after(ANSWER_MS, () => {
        if (host.socket?.site === site) speak(host, eid)
      })
    },
  }
}

export function packetText(packet: ModelPacket): string {
  return `${packet.flow.sourceText}>${packet.flow.destinationText}#${packet.sequence}`
}
