/**
 * A rehearsal of moves in memory, so that the first real one does not meet code that never ran.
 *
 * A control plane is idle for hours and then has milliseconds. Until a function has run a few times
 * it is compiled lazily and interpreted: measured, the steps of a move take three to five times as
 * long at first. Two clouds, a client and a mapping system, all of them nodes like the real one with
 * virtual time and nothing behind them, move an endpoint to and fro in small slices. Nothing leaves
 * this file: no datagram, no file, no event.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { Capabilities } from '../control/capabilities.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { Input, Node, Output } from '../control/input-output.js'
import { createNode } from '../control/node.js'
import { formatIpAddress, type IpAddress, parseIpAddress } from '../lisp/address.js'
import type { AuthenticationKey } from '../lisp/authentication.js'
import { type EidPrefix, eidFromPrefix, parseEidPrefix } from '../lisp/eid.js'

export interface Rehearsal {
  /**
   * One move, announced or not in turn, in steps of one input each; virtual time passes, real time
   * 0.1 to 3 ms a step.
   */
  performMove(): Generator<void, void>
  /** Where the mapping system believes the endpoint to be: the name of a cloud. */
  owner(): string | undefined
}

/** Plays moves in small slices until they are done; returns what ends it early. */
export function rehearse(capabilities: Capabilities): () => void {
  let rehearsal: Rehearsal | undefined
  let move: Generator<void, void> | undefined
  let moves = 0
  let timer = setTimeout(next, BEGIN_MS)
  /** False when all moves have been played. */
  const step = (): boolean => {
    if (rehearsal === undefined) rehearsal = createRehearsal(capabilities)
    else if (move === undefined) move = rehearsal.performMove()
    else if (move.next().done) {
      move = undefined
      moves += 1
    }
    return moves < MOVES
  }
  function next(): void {
    const until = performance.now() + SLICE_MS
    let goesOn = step()
    while (goesOn && performance.now() < until) goesOn = step()
    if (goesOn) timer = setTimeout(next, PAUSE_MS).unref()
  }
  timer.unref()
  return () => clearTimeout(timer)
}

export function createRehearsal(capabilities: Capabilities): Rehearsal {
  const nodes = new Map<string, Player>()
  for (const config of [cloud(1), cloud(2), client(3), mapping()]) {
    const node = createNode(config, capabilities)
    nodes.set(formatIpAddress(config.rlocs[0]!.address), { node, name: config.node })
  }
  const [a, b, sender] = [...nodes.values()] as [Player, Player, Player]
  let now = 0
  let moves = 0
  const mail: { readonly to: Player; readonly input: Input }[] = []

  const perform = (output: Output): void => {
    if (output.kind === 'persist') for (const one of output.then) perform(one)
    if (output.kind !== 'send') return
    const to = nodes.get(formatIpAddress(output.to))
    const { from, bytes } = output
    const input: Input = { kind: 'datagram', from, fromPort: 4342, to: output.to, bytes }
    if (to !== undefined) mail.push({ to, input })
  }
  const feed = (player: Player, input: Input): void => {
    const outputs: Output[] = []
    player.node.handle(input, now, outputs)
    for (const output of outputs) perform(output)
  }
  /** Delivers all mail, each a little later. */
  function* settle(): Generator<void, void> {
    for (let letters = 0; letters < MAXIMUM_LETTERS; letters += 1) {
      yield
      const first = mail.shift()
      if (first === undefined) return
      now += 0.1
      feed(first.to, first.input)
    }
  }
  function* see(player: Player, event: DatapathEvent): Generator<void, void> {
    feed(player, { kind: 'datapath', event })
    yield* settle()
  }
  function* pass(milliseconds: number): Generator<void, void> {
    now += milliseconds
    for (const player of nodes.values()) {
      if ((player.node.deadline() ?? now) < now) feed(player, { kind: 'deadline' })
      yield* settle()
    }
  }

  for (const player of nodes.values()) {
    feed(player, { kind: 'restored', state: { records: [], localEids: [], mapCache: [] } })
  }
  for (const _ of settle());
  return {
    *performMove() {
      const [to, from] = moves % 2 === 0 ? [a, b] : [b, a]
      const announced = moves % 4 >= 2
      moves += 1
      if (announced) {
        const command = { kind: 'start-move', eids: EIDS, source: undefined } as const
        feed(to, { kind: 'command', commandId: `rehearsal-${moves}`, command })
        yield* settle()
      }
      for (const eid of EIDS) {
        yield* see(to, { ...SEEN, eid })
        yield* see(sender, { kind: 'packet-held', eid, source: SOURCE, why: 'map-cache-miss' })
      }
      yield* pass(150)
      for (const eid of EIDS) {
        yield* see(from, { kind: 'away-eid-hit', eid, sender: CLIENT })
        yield* see(to, { kind: 'sender-seen', eid, sender: CLIENT })
        yield* see(to, { kind: 'hold-released', eid, packets: 1, heldMs: 1 })
      }
      yield* pass(50)
      // Longer than any rate limit; the registers and probes of that time come as well.
      yield* pass(15_000)
    },
    owner() {
      const server = nodes.get(formatIpAddress(MAPPING))!.node.snapshot(now)
      const found = server.registrations.find((one) => one.eidPrefix.endsWith('10.0.0.5/32'))
      const rloc = found?.locators[0]?.rloc
      return rloc === undefined ? undefined : nodes.get(rloc)?.name
    },
  }
}

interface Player {
  readonly node: Node
  readonly name: string
}

/** Choice: after the first packets of a fresh daemon, which matter more. */
const BEGIN_MS = 500
/** Choice: a packet that comes meanwhile waits for so long at most, and for one step more. */
const SLICE_MS = 2
const PAUSE_MS = 4
/** Measured: from then on the steps do not get faster any more. */
const MOVES = 32
const MAXIMUM_LETTERS = 200

const INTERFACE = 'site'
const KEY: AuthenticationKey = { keyId: 1, algorithm: 3, secret: new Uint8Array(32).fill(7) }
const PREFIXES = ['[7]10.0.0.0/24', '[7]fd00:10::/64'].map(prefix)
const CLIENT_PREFIX = prefix('[7]10.1.0.0/24')
const EIDS = ['[7]10.0.0.5/32', '[7]fd00:10::5/128'].map((text) => eidFromPrefix(prefix(text)))
const SOURCE = eidFromPrefix(prefix('[7]10.1.0.2/32'))
const MAPPING = address('192.0.2.4')
const CLIENT = address('192.0.2.3')
const SEEN = {
  kind: 'local-eid-seen',
  mac: new Uint8Array([2, 0, 0, 0, 0, 5]),
  interfaceName: INTERFACE,
  how: 'packet',
} as const

function cloud(index: number): NodeConfig {
  return player(`cloud-${index}`, index, {
    dynamicEidPrefixes: PREFIXES.map((eidPrefix) => ({ eidPrefix, interfaceName: INTERFACE })),
  })
}

function client(index: number): NodeConfig {
  const own = { eidPrefix: CLIENT_PREFIX, interfaceName: INTERFACE }
  return player('client', index, { eidPrefixes: [own] })
}

function mapping(): NodeConfig {
  const prefixes = [...PREFIXES, CLIENT_PREFIX].map((eidPrefix) => {
    return { eidPrefix, acceptMoreSpecifics: true }
  })
  const site = { name: 'rehearsal', keys: [KEY], prefixes, xtrIds: [], legacyNonces: false }
  return player('mapping', 4, {
    roles: ['map-server', 'map-resolver'],
    mapServer: { sites: [site], registrationMs: 180_000, maximumRegistrations: 100 },
  })
}

function player(node: string, index: number, about: Partial<NodeConfig>): NodeConfig {
  const own = address(`192.0.2.${index}`)
  const server = { address: MAPPING, key: KEY, proxyReply: true }
  return {
    node,
    roles: ['itr', 'etr'],
    xtrId: new Uint8Array(16).fill(index),
    siteId: 0n,
    rlocs: [{ address: own, interfaceName: 'core', priority: 1, weight: 100 }],
    siteInterfaces: [{ name: INTERFACE, instanceId: 7, proxyNeighbours: true }],
    eidPrefixes: [],
    dynamicEidPrefixes: [],
    mapServers: [{ ...server, registerMs: 60_000, ttlMinutes: 15 }],
    mapResolvers: [MAPPING],
    mapCache: {
      maximumEntries: 100,
      smrPerLocatorPerSecond: 100,
      repliesPerLocatorPerSecond: 100,
      maximumPendingRequests: 100,
      widestAnswers: { ipv4: 16, ipv6: 32 },
    },
    missHoldMs: 5000,
    pathMtu: 1500,
    gpePeers: [],
    multicast: {
      enabled: false,
      siteXtrs: [],
      relayLevel: undefined,
      relayInstances: [],
      maximumGroups: 1,
      maximumSources: 1,
    },
    groupServer: { fanOut: 1, maximumMembers: 1, maximumMembersPerGroup: 1 },
    publishSubscribe: { subscribe: true, acceptUnsolicited: false },
    subscriptions: {
      accept: true,
      subscribers: [],
      mapResolvers: [],
      maximum: 100,
      maximumPerXtr: 100,
      lifetimeMs: 3_600_000,
      temporaryMs: 900_000,
    },
    rlocProbe: { enabled: true, intervalMs: 10_000, failures: 3 },
    ddt: {
      roots: [],
      root: false,
      authoritative: [],
      delegations: [],
      peers: [],
      maximumReferrals: 1,
    },
    mobility: {
      key: KEY,
      peers: [],
      endpointTimeoutMs: 2000,
      awayMs: 60_000,
      hold: true,
      redirect: true,
      solicit: true,
      dhcpSnooping: false,
      live: { guardMs: 50, leaseMs: 30_000, longestMs: 21_600_000 },
    },
    mapServer: { sites: [], registrationMs: 180_000, maximumRegistrations: 100 },
    ...about,
  }
}

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text)
  if (parsed === undefined) throw new Error(`not an address: ${text}`)
  return parsed
}

function prefix(text: string): EidPrefix {
  const parsed = parseEidPrefix(text)
  if (parsed === undefined) throw new Error(`not an EID-prefix: ${text}`)
  return parsed
}
