/**
 * What must be true when the faults are over and everything had time to settle.
 *
 * I3 whoever sends reaches the host where it is: registration, tables and caches lead there, packets
 * of the last stretch arrive, no move is left half-way, every command has its result. I6 nothing is
 * held any more and the books of all packets balance. I8 a quiet network says only what it must:
 * registrations and their answers, probes.
 */
import { formatEid, formatEidPrefix, hostPrefix } from '../lisp/eid.js'
import type { Host } from './host.js'
import { MAXIMUM_REDIRECTS } from './invariants.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** Judges all of it; throws `InvariantViolation`. `since`: packets sent from then on must be there. */
export function judgeRest(world: World, since: number): void {
  for (const books of world.ledger.flows()) {
    const missing = world.ledger.missing(books, since)
    const [first] = missing.filter(({ reason }) => !isForgotten(world, reason))
    if (first !== undefined) {
      const { sequence, reason } = first
      world.invariants.violate('I3', `${books.name}#${sequence} is lost at rest: ${reason}`)
    }
  }
  for (const host of world.hosts.all) judgeHost(world, host)
  for (const node of world.nodes.values()) judgeMoves(world, node)
  if (world.unanswered() > 0)
    world.invariants.violate('I10', `${world.unanswered()} commands have no result`)
}

/**
 * An xTR that lost its tables does not know who has left it, so it solicits nobody: senders that
 * still use it follow when their cache entry ends. Known, and counted there as `unknown-eid`.
 */
function isForgotten(world: World, reason: string | undefined): boolean {
  return reason === 'unknown-eid' && world.rebooted.size > 0
}

/** After the last packet: nothing is under way and nothing waits. */
export function judgeSilence(world: World): void {
  for (const node of world.nodes.values()) {
    const held = [...(node.datapath?.waiting() ?? [])].length
    if (held > 0) world.invariants.violate('I6', `${node.name} still holds ${held} packets`)
  }
  const left = world.ledger.underWay()
  if (left > 0) world.invariants.violate('I6', `${left} packets are neither delivered nor lost`)
}

/** What was sent between the two counts must be of the kinds that never end. */
export function judgeQuiet(world: World, before: ReadonlyMap<string, number>): void {
  for (const [kind, count] of world.sent)
    if (count > (before.get(kind) ?? 0) && !ENDLESS.includes(kind))
      world.invariants.violate('I8', `a quiet network sends ${kind}`)
}

function judgeHost(world: World, host: Host): void {
  const site = host.socket?.site
  if (site === undefined) return
  for (const eid of host.specification.eids) {
    const [name, prefix] = [formatEid(eid), formatEidPrefix(hostPrefix(eid))]
    judgeRegistration(world, prefix, site)
    for (const node of world.nodes.values()) {
      const seen = node.snapshot()?.mappingDatabase.find((one) => one.eidPrefix === prefix)
      const dynamic = node.specification.nodeConfig.dynamicEidPrefixes.length > 0
      if (node.name === site && dynamic && seen?.state !== 'local')
        world.invariants.violate('I3', `${name} is at ${site}, which has it ${seen?.state}`)
      if (node.name !== site && seen !== undefined && seen.state !== 'away')
        world.invariants.violate('I3', `${name} is at ${site}, ${node.name} has it ${seen.state}`)
      const end = wayOf(world, node, prefix)
      // Who forgot everything cannot send on what others still send to it.
      const forgotten = end !== undefined && world.rebooted.has(end)
      if (end !== undefined && end !== site && !forgotten)
        world.invariants.violate(
          'I3',
          `${name} is at ${site}, from ${node.name} one gets to ${end}`,
        )
    }
  }
}

/** Static prefixes are registered whole; only single EIDs can be registered in a wrong place. */
function judgeRegistration(world: World, prefix: string, site: string): void {
  for (const node of world.nodes.values()) {
    const all = node.snapshot()?.registrations ?? []
    const found = all.filter((one) => one.eidPrefix === prefix)
    const mobile = node.specification.nodeConfig.mapServer.sites.length > 0
    const isHere = world.node(site).specification.nodeConfig.dynamicEidPrefixes.length > 0
    if (!mobile || !isHere) continue
    if (found.length !== 1)
      world.invariants.violate('I3', `${prefix} has ${found.length} registrants at ${node.name}`)
    const [rloc] = found[0]?.locators ?? []
    const at = rloc === undefined ? undefined : nodeAt(world, rloc.rloc)
    if (at !== site) world.invariants.violate('I3', `${prefix} is at ${site}, registered at ${at}`)
  }
}

/** Where a packet to the prefix ends that leaves this node; undefined when it would ask. */
function wayOf(world: World, from: SimulatedNode, prefix: string): string | undefined {
  let node = from
  for (let hop = 0; hop <= MAXIMUM_REDIRECTS; hop += 1) {
    const view = node.datapath?.view()
    const local = view?.localEids.find((one) => one.eidPrefix === prefix)
    if (local !== undefined && local.state !== 'away') return node.name
    const entry = view?.mapCache.find((one) => one.eidPrefix === prefix)
    if (entry === undefined) return hop === 0 ? undefined : node.name
    if (entry.action !== 'forward') return node.name
    const next = nodeAt(world, entry.rlocs[0] ?? '')
    if (next === undefined) return 'nobody'
    node = world.node(next)
  }
  return 'nowhere: a loop'
}

function judgeMoves(world: World, node: SimulatedNode): void {
  for (const move of node.snapshot()?.moves ?? [])
    if (move.state === 'preparing' || move.state === 'ready')
      world.invariants.violate('I3', `${node.name}: move ${move.moveId} is still ${move.state}`)
}

function nodeAt(world: World, rloc: string): string | undefined {
  for (const node of world.nodes.values()) {
    const views = node.specification.config.rlocs
    if (views.some((one) => one.address === rloc)) return node.name
  }
  return undefined
}

const ENDLESS = ['map-register', 'map-notify', 'map-notify-ack', 'probe', 'probe-reply']
