/**
 * What the API says, as TypeBox schemas: they validate requests, serialize responses and make the
 * OpenAPI document. The views of tables are the types of control/snapshot.ts in JSON; a type test
 * holds both together.
 */
import type { Static } from 'typebox'
import { Type } from '../config/schema-builder.js'
import { EVENT_NAMES } from '../control/event.js'
import { MOVE_STAGES } from '../control/snapshot.js'

/**
 * A snapshot type as JSON carries it: a field that may be undefined is a field that may be absent,
 * and nothing is read-only.
 */
export type JsonOf<T> = T extends readonly (infer Item)[]
  ? JsonOf<Item>[]
  : T extends object
    ? { -readonly [K in keyof T as undefined extends T[K] ? never : K]: JsonOf<T[K]> } & {
        -readonly [K in keyof T as undefined extends T[K] ? K : never]?: JsonOf<
          Exclude<T[K], undefined>
        >
      }
    : T

/** The same value, typed as the JSON that it will become (undefined fields are left out there). */
export function asJson<T>(value: T): JsonOf<T> {
  return value as unknown as JsonOf<T>
}

const Milliseconds = (description: string) => Type.Number({ description: `ms ${description}` })

export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'Kebab-case and stable' }),
    message: Type.String(),
    field: Type.Optional(Type.String({ description: 'The offending place, as body.eids[0]' })),
    details: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), message: Type.String() })),
    ),
  }),
})

export const LocatorView = Type.Object({
  rloc: Type.String(),
  priority: Type.Integer({ description: '0-255, lower wins' }),
  weight: Type.Integer({ description: '0-255' }),
  reachable: Type.Boolean(),
})

const Counters = Type.Object(
  {
    packets: Type.Number(),
    bytes: Type.Number(),
    idleMs: Type.Optional(Milliseconds('since the last packet; absent: never used')),
  },
  { description: 'Of the datapath; absent when the entry is not there' },
)

const prefixFields = {
  eidPrefix: Type.String({ description: 'Canonical text, as [7]10.1.0.0/16' }),
  instanceId: Type.Integer(),
}

export const mapCacheFields = {
  ...prefixFields,
  action: Type.Enum([
    'forward',
    'natively-forward',
    'send-map-request',
    'drop',
    'no-action',
    'drop-policy-denied',
    'drop-auth-failure',
  ]),
  locators: Type.Array(LocatorView),
  mapVersion: Type.Integer(),
  expiresInMs: Milliseconds('until it expires'),
  installedAgoMs: Milliseconds('since it was installed'),
  origin: Type.Enum(['map-reply', 'map-notify', 'gleaned', 'away', 'restored', 'local']),
  refreshing: Type.Boolean(),
}
export const MapCacheEntry = Type.Object({ ...mapCacheFields, counters: Type.Optional(Counters) })

export const mappingDatabaseFields = {
  ...prefixFields,
  kind: Type.Enum(['static', 'dynamic-prefix', 'dynamic-eid']),
  state: Type.Enum(['local', 'standby', 'away']),
  interfaceName: Type.String(),
  mac: Type.Optional(Type.String()),
  locators: Type.Array(LocatorView),
  mapVersion: Type.Integer(),
  registered: Type.Boolean(),
  registeredAgoMs: Type.Optional(Milliseconds('since the Map-Server acknowledged it')),
}
export const MappingDatabaseEntry = Type.Object({
  ...mappingDatabaseFields,
  counters: Type.Optional(Counters),
})

export const RegistrationView = Type.Object({
  ...prefixFields,
  site: Type.String(),
  owner: Type.String({ description: 'xTR-ID or RLOC of who registered it' }),
  locators: Type.Array(LocatorView),
  mapVersion: Type.Integer(),
  proxyReply: Type.Boolean(),
  expiresInMs: Milliseconds('until it expires unless refreshed'),
  registeredAgoMs: Milliseconds('since it was last registered'),
})

export const DescribedEidView = Type.Object({
  eid: Type.String({ description: 'As `[7]"ietf"` or `[7]52.52,13.405 r 2000 m`' }),
  kind: Type.Enum(['name', 'place']),
  instanceId: Type.Integer(),
  site: Type.String(),
  owner: Type.String({ description: 'xTR-ID or RLOC of who registered it' }),
  locators: Type.Array(LocatorView),
  otherLocators: Type.Array(Type.String(), { description: 'Those that are no addresses' }),
  proxyReply: Type.Boolean(),
  expiresInMs: Milliseconds('until it expires unless refreshed'),
})

export const SiteView = Type.Object({
  name: Type.String(),
  prefixes: Type.Array(
    Type.Object({
      prefix: Type.String(),
      instanceId: Type.Integer(),
      acceptMoreSpecifics: Type.Boolean(),
    }),
  ),
  registrations: Type.Integer(),
})

export const SubscriptionView = Type.Object({
  ...prefixFields,
  side: Type.Enum(['map-server', 'xtr']),
  xtrId: Type.String({ description: 'xTR-ID of the subscriber' }),
  itrRlocs: Type.Array(Type.String(), { description: 'Where it is told' }),
  coverage: Type.String({ description: 'What was answered, and so what it is told of' }),
  state: Type.Enum(['offered', 'temporary', 'subscribed', 'removed']),
  upToDate: Type.Boolean({ description: 'It has acknowledged the newest mapping' }),
  expiresInMs: Milliseconds('until it ends unless renewed; on an xTR, until it is looked at again'),
})

export const MulticastGroupView = Type.Object({
  group: Type.String({ description: 'As `[7](10.1.0.5,232.1.1.1)` or `(*,ff3e::1)`' }),
  instanceId: Type.Integer(),
  side: Type.Enum(['xtr', 'relay', 'map-server']),
  listeners: Type.Integer({ description: 'On our segments, as far as they are tracked' }),
  interfaces: Type.Array(Type.String(), { description: 'With listeners that we serve' }),
  registered: Type.Boolean({ description: 'We have registered it; of a Map-Server: a site has' }),
  followed: Type.Boolean({ description: 'We follow its list; of a Map-Server: somebody does' }),
  copies: Type.Array(Type.String(), {
    description: 'RLOCs that we copy to; of a Map-Server, receivers (the first 64)',
  }),
  level: Type.Integer({ description: 'Of a relay, else 0' }),
  members: Type.Integer({ description: 'Entries of the list; of a Map-Server, receiver sites' }),
  counters: Type.Optional(Counters),
})

export const ListenerView = Type.Object({
  interfaceName: Type.String(),
  instanceId: Type.Integer(),
  group: Type.String(),
  mode: Type.Enum(['include', 'exclude'], {
    description: 'include: only `sources` are wanted; exclude: all but `excluded`',
  }),
  sources: Type.Array(Type.String()),
  excluded: Type.Array(Type.String()),
  hosts: Type.Array(Type.String(), { description: 'Those told apart (the first 64)' }),
  hostCount: Type.Integer(),
  version: Type.Integer({ description: 'The oldest of IGMP (1–3) or MLD (1–2) heard lately' }),
  expiresInMs: Milliseconds('until the last timer runs out, unless somebody reports again'),
})

export const SegmentView = Type.Object({
  interfaceName: Type.String(),
  family: Type.Integer({ description: '4: IGMP, 6: MLD' }),
  address: Type.Optional(Type.String({ description: 'Ours on the segment' })),
  querier: Type.Optional(Type.String({ description: 'Who is elected' })),
  isQuerier: Type.Boolean(),
  version: Type.Integer(),
  queryIntervalMs: Milliseconds('between general queries of the querier'),
  robustness: Type.Integer(),
  groups: Type.Integer(),
  hosts: Type.Integer(),
  refused: Type.Integer({ description: 'Records not taken, for a limit or for their group' }),
  ignored: Type.Integer({ description: 'Messages not used' }),
})

export const PimLinkView = Type.Object({
  interfaceName: Type.String(),
  family: Type.Integer(),
  address: Type.String({ description: 'Ours on the link' }),
  designatedRouter: Type.String(),
  neighbours: Type.Array(Type.String()),
  joinedByOthers: Type.Integer({ description: 'Groups that they have joined through us' }),
  joinedByUs: Type.Integer({ description: 'Groups that we have joined through them' }),
})

export const LocatorStateView = Type.Object({
  rloc: Type.String(),
  reachable: Type.Boolean(),
  probing: Type.Boolean(),
  roundTripMs: Type.Optional(Milliseconds('of the last answered RLOC-probe')),
  lastReplyAgoMs: Type.Optional(Milliseconds('since the last answer')),
  lossPercent: Type.Number(),
  pathMtu: Type.Optional(
    Type.Integer({
      description: 'Largest outer packet in bytes, where ICMP says less than the configuration',
    }),
  ),
})

const moveFields = {
  moveId: Type.String(),
  trigger: Type.Enum(['orchestrated', 'detected']),
  state: Type.Enum(['preparing', 'ready', 'arrived', 'converged', 'failed']),
  eids: Type.Array(Type.String()),
  source: Type.Optional(Type.String({ description: 'RLOC of the xTR that the EIDs leave' })),
  destination: Type.String({ description: 'RLOC of the xTR that they come to' }),
  reason: Type.Optional(Type.String({ description: 'Why it failed' })),
}
export const MoveEntry = Type.Object({
  ...moveFields,
  timeline: Type.Array(
    Type.Object({
      stage: Type.Enum(MOVE_STAGES),
      agoMs: Milliseconds('before this response'),
      at: Type.String({ description: 'Wall-clock time, ISO 8601 with milliseconds' }),
    }),
  ),
})

export const HealthView = Type.Object({
  ok: Type.Boolean(),
  node: Type.String(),
  roles: Type.Array(Type.String()),
  version: Type.String(),
  uptimeSeconds: Type.Number(),
  checks: Type.Array(
    Type.Object({
      name: Type.String(),
      ok: Type.Boolean(),
      detail: Type.Optional(Type.String()),
    }),
  ),
})

const CountByName = Type.Record(Type.String(), Type.Number())

const DatapathView = Type.Object({
  drops: Type.Record(Type.String(), Type.Object({ packets: Type.Number(), bytes: Type.Number() }), {
    description: 'Every reason, also those at zero',
  }),
  tallies: CountByName,
  hold: Type.Object({
    packets: Type.Number({ description: 'Held now' }),
    bytes: Type.Number({ description: 'Held now' }),
    heldTotal: Type.Number(),
    releasedTotal: Type.Number(),
    dropped: CountByName,
  }),
})

export const NodeView = Type.Object({
  node: Type.String(),
  roles: Type.Array(Type.String()),
  version: Type.String(),
  startedAt: Type.String(),
  uptimeSeconds: Type.Number(),
  processId: Type.Integer(),
  problems: Type.Array(Type.String(), { description: 'What is amiss with its interfaces now' }),
  rlocs: Type.Array(Type.Object({ address: Type.String(), interface: Type.String() })),
  siteInterfaces: Type.Array(Type.Object({ name: Type.String(), instanceId: Type.Integer() })),
  mapServers: Type.Array(Type.String()),
  mapResolvers: Type.Array(Type.String()),
  entries: Type.Object(
    {
      mapCache: Type.Integer(),
      mappingDatabase: Type.Integer(),
      registrations: Type.Integer(),
      subscriptions: Type.Integer(),
      moves: Type.Integer(),
    },
    { description: 'Table sizes' },
  ),
  datapath: Type.Optional(DatapathView),
  groupPackets: Type.Optional(
    Type.Object(
      {
        packets: CountByName,
        drops: Type.Record(Type.String(), Type.Number(), {
          description: 'Every reason, also those at zero',
        }),
      },
      { description: 'IGMP, MLD and PIM packets, and joins between xTRs' },
    ),
  ),
})

export const EventView = Type.Object(
  {
    at: Type.String(),
    name: Type.Enum(EVENT_NAMES),
    severity: Type.Enum(['debug', 'info', 'notice', 'warning', 'error']),
    reason: Type.Optional(Type.String()),
  },
  { additionalProperties: true, description: 'Further fields as documented per event' },
)

export type MoveEntryView = Static<typeof MoveEntry>
export type NodeInformation = Static<typeof NodeView>

/** The error answers that every route may give, for its `response` schemas. */
export const errorResponses = { '4xx': ErrorBody, '5xx': ErrorBody }
