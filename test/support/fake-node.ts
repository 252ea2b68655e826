/**
 * A node as the API sees one, as plain values: a snapshot to edit, a list of the commands it got,
 * and a function that lets an event happen.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ApiDatapath, ApiNode } from '../../src/api/context.js'
import { validateConfig } from '../../src/config/compiled-validators.js'
import type { Config } from '../../src/config/schema.js'
import type { Command, CommandResult } from '../../src/control/command.js'
import type { Event } from '../../src/control/event.js'
import type { DescribedEidView, MoveView, NodeSnapshot } from '../../src/control/snapshot.js'
import { pageOf, type ReadTables, type TableQuery } from '../../src/control/table-pages.js'
import type { GroupPacketCounters } from '../../src/datapath/group-packet-counters.js'
import type { Eid, EidPrefix } from '../../src/lisp/eid.js'
import { createEidTrie } from '../../src/tables/eid-trie.js'
import { aPrefix } from './builders.js'

export interface FakeNode extends ApiNode {
  readonly commands: Command[]
  moves: MoveView[]
  /** Answers the next commands; the default refuses. */
  answer: (command: Command) => Promise<CommandResult>
  emit(event: Event, at?: Date): void
  listeners(): number
}

export function createFakeNode(): FakeNode {
  const listeners = new Set<(event: Event, at: Date) => void>()
  const fake: FakeNode = {
    commands: [],
    moves: [aMove()],
    answer: async () => ({ ok: false, status: 409, code: 'not-now', message: 'not now' }),
    snapshot: () => aSnapshot(fake.moves),
    tables: tablesOf(() => fake.snapshot()),
    command(command) {
      fake.commands.push(command)
      return fake.answer(command)
    },
    onEvent(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    emit(event, at = new Date('2025-01-02T03:04:05.678Z')) {
      for (const listener of listeners) listener(event, at)
    },
    listeners: () => listeners.size,
  }
  return fake
}

/** The tables of a snapshot, paged as a node pages them. */
function tablesOf(snapshot: () => NodeSnapshot): ReadTables {
  const page = <View extends { eidPrefix: string }>(views: readonly View[], query: TableQuery) => {
    const trie = createEidTrie<{ prefix: EidPrefix; views: View[] }>()
    for (const view of views) {
      const prefix = aPrefix(view.eidPrefix)
      const same = trie.exact(prefix)
      if (same === undefined) trie.insert(prefix, { prefix, views: [view] })
      else same.views.push(view)
    }
    const table = {
      *after(prefix: EidPrefix | undefined, instanceId: number | undefined) {
        for (const { value } of trie.after(prefix, instanceId)) yield value
      },
      sizeOf: trie.sizeOf,
      longestMatch: (eid: Eid) => trie.longestMatch(eid)?.value,
    }
    return pageOf(
      table,
      query,
      (one) => one.prefix,
      (one) => one.views,
    )
  }
  return {
    sizes() {
      const { mapCache, mappingDatabase, registrations, subscriptions, moves, locators } =
        snapshot()
      const underWay = moves.filter(({ state }) => state !== 'converged' && state !== 'failed')
      return {
        mapCache: mapCache.length,
        mappingDatabase: mappingDatabase.length,
        registrations: registrations.length,
        describedEids: someDescribedEids.length,
        subscriptions: subscriptions.length,
        groups: 0,
        listenedGroups: 1,
        groupMembers: 0,
        subscribersBehind: subscriptions.filter(({ upToDate }) => !upToDate).length,
        moves: moves.length,
        movesUnderWay: underWay.length,
        unreachableLocators: locators.filter(({ reachable }) => !reachable).length,
        narrowedPaths: locators.filter(({ pathMtu }) => pathMtu !== undefined).length,
      }
    },
    mapCache: (query) => page(snapshot().mapCache, query),
    mappingDatabase: (query) => page(snapshot().mappingDatabase, query),
    registrations: (query) => page(snapshot().registrations, query),
    describedEids: ({ limit, after }) => {
      const start = someDescribedEids.findIndex(({ eid }) => eid === after) + 1
      const entries = someDescribedEids.slice(start, start + limit)
      const isLast = start + limit >= someDescribedEids.length
      const next = isLast ? undefined : entries.at(-1)?.eid
      return { entries, total: someDescribedEids.length, next }
    },
    move: (moveId) => snapshot().moves.find((one) => one.moveId === moveId),
  }
}

const someDescribedEids: readonly DescribedEidView[] = [
  {
    eid: '[7]52.52,13.405 r 2000 m',
    kind: 'place',
    instanceId: 7,
    site: 'clouds',
    owner: '172.16.3.1',
    locators: [],
    otherLocators: ['"rooftop"'],
    proxyReply: true,
    expiresInMs: 60_000,
  },
  {
    eid: '[7]"ietf"',
    kind: 'name',
    instanceId: 7,
    site: 'clouds',
    owner: '00112233445566778899aabbccddeeff',
    locators: [{ rloc: '172.16.3.1', priority: 1, weight: 100, reachable: true }],
    otherLocators: [],
    proxyReply: true,
    expiresInMs: 178_000,
  },
]

export function aMove(overrides: Partial<MoveView> = {}): MoveView {
  return {
    moveId: '0000000100000abc',
    trigger: 'orchestrated',
    state: 'converged',
    eids: ['[7]10.10.0.5', '[7]fd00:10::5'],
    source: '172.16.1.1',
    destination: '172.16.2.1',
    reason: undefined,
    timeline: [
      { stage: 'requested', agoMs: 5000 },
      { stage: 'source-redirected', agoMs: 4996 },
      { stage: 'ready', agoMs: 4995 },
      { stage: 'endpoint-seen', agoMs: 4900 },
      { stage: 'converged', agoMs: 4890 },
    ],
    ...overrides,
  }
}

/** Of IGMP, MLD, PIM and joins between xTRs. */
export const someGroupPackets = (): GroupPacketCounters => ({
  packets: { 'igmp-received': 12, 'pim-sent': 3, 'join-received': 0 },
  drops: { 'segment-fragment': 2, 'join-cut-short': 0 },
})

export const aDatapath: ApiDatapath = {
  counters: () => ({
    drops: {
      'malformed-inner': { packets: 0, bytes: 0 },
      'unknown-eid': { packets: 3, bytes: 252 },
    },
    tallies: { encapsulated: 1200, decapsulated: 1100, held: 4 },
    hold: {
      packets: 2,
      bytes: 168,
      heldTotal: 40,
      releasedTotal: 37,
      dropped: { 'endpoint-absent': 1 },
    },
  }),
  groupCounters: (names) => names.map((group) => ({ group, packets: 7n, bytes: 700n, idleMs: 20 })),
  mappingCounters: () => [
    {
      table: 'map-cache',
      eidPrefix: '[7]10.20.0.0/24',
      packets: 1200n,
      bytes: 100_800n,
      idleMs: 12,
    },
    {
      table: 'local-eid',
      eidPrefix: '[7]10.10.0.5/32',
      packets: 9n,
      bytes: 756n,
      idleMs: undefined,
    },
  ],
}

const directories: string[] = []

/** A new directory that is gone when the test process is. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  if (directories.length === 0) {
    process.on('exit', () => {
      for (const one of directories) rmSync(one, { recursive: true, force: true })
    })
  }
  directories.push(directory)
  return directory
}

/** A valid configuration whose socket lies in a new temporary directory. */
export function aConfig(): Config & { api: { socket: string } } {
  const directory = temporaryDirectory()
  const config = {
    node: 'cloud-b',
    roles: ['itr', 'etr'],
    rlocs: [{ address: '172.16.2.1', interface: 'core0' }],
    siteInterfaces: [{ name: 'br0', instanceId: 7 }],
    mapServers: [{ address: '172.16.4.1', key: { secretFile: '/etc/godwit/site.key' } }],
    mapResolvers: ['172.16.4.1'],
    api: { socket: join(directory, 'cloud-b.sock') },
  }
  if (!validateConfig(config)) throw new Error(JSON.stringify(validateConfig.errors))
  return config as Config & { api: { socket: string } }
}

const A_PIM_LINK = {
  interfaceName: 'br0',
  family: 4,
  address: '10.10.0.1',
  designatedRouter: '10.10.0.9',
  neighbours: ['10.10.0.9'],
  joinedByOthers: 2,
  joinedByUs: 1,
} as const

const A_LISTENER = {
  interfaceName: 'br0',
  instanceId: 7,
  group: '232.1.1.1',
  mode: 'include',
  sources: ['10.20.0.5'],
  excluded: [],
  hosts: ['10.10.0.9'],
  hostCount: 1,
  version: 3,
  expiresInMs: 250_000,
} as const

const A_SEGMENT = {
  interfaceName: 'br0',
  family: 4,
  address: '10.10.0.1',
  querier: '10.10.0.1',
  isQuerier: true,
  version: 3,
  queryIntervalMs: 125_000,
  robustness: 2,
  groups: 1,
  hosts: 1,
  refused: 0,
  ignored: 0,
} as const

function aSnapshot(moves: readonly MoveView[]): NodeSnapshot {
  const locators = [{ rloc: '172.16.3.1', priority: 1, weight: 100, reachable: true }]
  const cached = {
    instanceId: 7,
    action: 'forward',
    locators,
    mapVersion: 3,
    expiresInMs: 890_000,
    installedAgoMs: 10_000,
    origin: 'map-reply',
    refreshing: false,
  } as const
  return {
    node: 'cloud-b',
    roles: ['itr', 'etr'],
    pimLinks: [A_PIM_LINK],
    listeners: [A_LISTENER],
    segments: [A_SEGMENT],
    groups: [AN_SSM_GROUP, { ...AN_SSM_GROUP, group: '[7](*,239.1.1.1)' }],
    mapCache: [
      { ...cached, eidPrefix: '[7]10.20.0.0/24' },
      { ...cached, eidPrefix: '[7]10.20.0.128/25', locators: [], action: 'drop' },
      { ...cached, eidPrefix: '10.20.0.0/16', instanceId: 0 },
    ],
    referrals: [],
    mappingDatabase: [
      {
        eidPrefix: '[7]10.10.0.0/24',
        instanceId: 7,
        kind: 'dynamic-prefix',
        state: 'local',
        interfaceName: 'br0',
        mac: undefined,
        locators,
        mapVersion: 0,
        registered: false,
        registeredAgoMs: undefined,
      },
      {
        eidPrefix: '[7]10.10.0.5/32',
        instanceId: 7,
        kind: 'dynamic-eid',
        state: 'local',
        interfaceName: 'br0',
        mac: '02:00:00:00:00:05',
        locators,
        mapVersion: 4,
        registered: true,
        registeredAgoMs: 1500,
      },
    ],
    registrations: [
      {
        eidPrefix: '[7]10.10.0.5/32',
        instanceId: 7,
        site: 'clouds',
        owner: '00112233445566778899aabbccddeeff',
        locators,
        mapVersion: 4,
        proxyReply: true,
        expiresInMs: 178_500,
        registeredAgoMs: 1500,
      },
    ],
    sites: [
      {
        name: 'clouds',
        prefixes: [{ prefix: '10.10.0.0/24', instanceId: 7, acceptMoreSpecifics: true }],
        registrations: 1,
      },
    ],
    subscriptions: [
      {
        eidPrefix: '[7]10.10.0.5/32',
        instanceId: 7,
        side: 'map-server',
        xtrId: 'ffeeddccbbaa99887766554433221100',
        itrRlocs: ['172.16.3.1'],
        coverage: '[7]10.10.0.5/32',
        state: 'subscribed',
        upToDate: true,
        expiresInMs: 86_000_000,
      },
    ],
    locators: [
      {
        rloc: '172.16.3.1',
        reachable: true,
        probing: true,
        roundTripMs: 0.42,
        lastReplyAgoMs: 3000,
        lossPercent: 0,
      },
      {
        rloc: 'fd00:c:3::1',
        reachable: false,
        probing: true,
        roundTripMs: undefined,
        lastReplyAgoMs: undefined,
        lossPercent: 100,
        pathMtu: 1400,
      },
    ],
    moves,
  }
}

const AN_SSM_GROUP = {
  group: '[7](10.20.0.5,232.1.1.1)',
  instanceId: 7,
  side: 'xtr',
  listeners: 2,
  interfaces: ['site0'],
  registered: true,
  followed: true,
  copies: ['192.0.2.9'],
  level: 0,
  members: 1,
} as const
