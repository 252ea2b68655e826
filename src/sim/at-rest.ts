/**
 * What must be true when the faults are over and everything had time to settle.
 *
 * I3 whoever sends reaches the host where it is: registration, tables and caches lead there, packets
 * of the last stretch arrive, no move is left half-way, every command has its result. I6 nothing is
 * held any more and the books of all packets balance. I8 a quiet network says only what it must:
 * registrations and their answers, probes.
 */
import { formatEid, formatEidPrefix, hostPrefix } from '../lisp/eid.js'
import { MAXIMUM_REDIRECTS } from './invariants.js'
import type { SimulatedNode } from './simulated-node.js'
import type { World } from './world.js'

/** Judges all of it; throws `InvariantViolation`. `since`: packets sent from then on must be there. */
export function judgeRest(world: World, since: number): void {
  for (const books of world.ledger.flows()) {
    const missing = world.ledger.missing(books, since)
    const [first] = missing
    if (first !== undefined) {
      const { sequence, reason } = first
      world.invariants.violate('I3', `${books.name}#${sequence} is lost at rest: ${reason}`)
    }
  }
  judgePlaces(world)
  for (const node of world.nodes.values()) judgeMoves(world, node)
  if (world.unanswered() > 0)
    world.invariants.violate('I10', `${world.unanswered()} commands have no result`)
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

/** EID-prefix of an EID → the EID and where its host is. */
type Places = ReadonlyMap<string, { readonly name: string; readonly site: string }>

/** What each node holds, read once: at a thousand sites nothing may be asked per host and node. */
interface NodeTables {
  readonly database: ReadonlyMap<string, string>
  readonly local: ReadonlyMap<string, string>
  readonly cache: ReadonlyMap<string, { readonly action: string; readonly rloc: string }>
}

function judgePlaces(world: World): void {
  const places = new Map<string, { name: string; site: string }>()
  for (const { socket, specification } of world.hosts.all)
    if (socket !== undefined)
      for (const eid of specification.eids)
        places.set(formatEidPrefix(hostPrefix(eid)), { name: formatEid(eid), site: socket.site })
  const rlocs = new Map<string, string>()
  const tables = new Map<string, NodeTables>()
  for (const node of world.nodes.values()) {
    for (const { address } of node.specification.config.rlocs) rlocs.set(address, node.name)
    tables.set(node.name, tablesOf(node))
  }
  const isDynamic = (site: string): boolean =>
    world.node(site).specification.nodeConfig.dynamicEidPrefixes.length > 0
  for (const node of world.nodes.values()) {
    judgeRegistrations(world, node, places, rlocs, isDynamic)
    judgeTables(world, node, places, tables, rlocs)
  }
  for (const [prefix, { name, site }] of places) {
    const state = tables.get(site)!.database.get(prefix)
    if (isDynamic(site) && state !== 'local')
      world.invariants.violate('I3', `${name} is at ${site}, which has it ${state}`)
  }
}

function tablesOf(node: SimulatedNode): NodeTables {
  const view = node.datapath?.view()
  return {
    database: new Map(
      node.snapshot()?.mappingDatabase.map((one) => [one.eidPrefix, one.state]) ?? [],
    ),
    local: new Map(view?.localEids.map((one) => [one.eidPrefix, one.state]) ?? []),
    cache: new Map(
      view?.mapCache.map((one) => [
        one.eidPrefix,
        { action: one.action, rloc: one.rlocs[0] ?? '' },
      ]) ?? [],
    ),
  }
}

function judgeTables(
  world: World,
  { name: node }: SimulatedNode,
  places: Places,
  tables: ReadonlyMap<string, NodeTables>,
  rlocs: ReadonlyMap<string, string>,
): void {
  const { database, local, cache } = tables.get(node)!
  for (const [prefix, state] of database) {
    const place = places.get(prefix)
    if (place !== undefined && place.site !== node && state !== 'away')
      world.invariants.violate('I3', `${place.name} is at ${place.site}, ${node} has it ${state}`)
  }
  for (const prefix of new Set([...local.keys(), ...cache.keys()])) {
    const place = places.get(prefix)
    if (place === undefined) continue
    const end = wayOf(tables, rlocs, node, prefix)
    // Who forgot everything cannot send on what comes; it asks whoever sends to ask again, so only
    // those that send nothing may still have the old way.
    const forgotten = end !== undefined && world.rebooted.has(end)
    if (end !== undefined && end !== place.site && !forgotten)
      world.invariants.violate(
        'I3',
        `${place.name} is at ${place.site}, from ${node} one gets to ${end}`,
      )
  }
}

/** Static prefixes are registered whole; only single EIDs can be registered in a wrong place. */
function judgeRegistrations(
  world: World,
  node: SimulatedNode,
  places: Places,
  rlocs: ReadonlyMap<string, string>,
  isDynamic: (site: string) => boolean,
): void {
  if (node.specification.nodeConfig.mapServer.sites.length === 0) return
  const found = new Map<string, string[]>()
  for (const { eidPrefix, locators } of node.snapshot()?.registrations ?? []) {
    const registrants = found.get(eidPrefix) ?? []
    found.set(eidPrefix, registrants)
    registrants.push(locators[0]?.rloc ?? '')
  }
  for (const [prefix, { site }] of places) {
    if (!isDynamic(site)) continue
    const registrants = found.get(prefix) ?? []
    if (registrants.length !== 1)
      world.invariants.violate(
        'I3',
        `${prefix} has ${registrants.length} registrants at ${node.name}`,
      )
    const at = rlocs.get(registrants[0] ?? '')
    if (at !== site) world.invariants.violate('I3', `${prefix} is at ${site}, registered at ${at}`)
  }
}

/** Where a packet to the prefix ends that leaves this node; undefined when it would ask. */
function wayOf(
  tables: ReadonlyMap<string, NodeTables>,
  rlocs: ReadonlyMap<string, string>,
  from: string,
  prefix: string,
): string | undefined {
  let node = from
  for (let hop = 0; hop <= MAXIMUM_REDIRECTS; hop += 1) {
    const { local, cache } = tables.get(node)!
    const state = local.get(prefix)
    if (state !== undefined && state !== 'away') return node
    const entry = cache.get(prefix)
    if (entry === undefined) return hop === 0 ? undefined : node
    if (entry.action !== 'forward') return node
    const next = rlocs.get(entry.rloc)
    if (next === undefined) return 'nobody'
    node = next
  }
  return 'nowhere: a loop'
}

function judgeMoves(world: World, node: SimulatedNode): void {
  for (const move of node.snapshot()?.moves ?? [])
    if (move.state === 'preparing' || move.state === 'ready')
      world.invariants.violate('I3', `${node.name}: move ${move.moveId} is still ${move.state}`)
}

const ENDLESS = ['map-register', 'map-notify', 'map-notify-ack', 'probe', 'probe-reply']
