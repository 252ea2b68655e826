/**
 * The configuration of one node: every key with its type, unit, default, bounds and reason.
 *
 * This schema is the single source: the TypeScript type, validation at load, docs/configuration.md
 * and the JSON Schema for editors all derive from it. Unknown keys are errors. Secrets are
 * references to files and never appear in a snapshot. Numbers that an RFC fixes are not here but
 * beside their use.
 */
import type { Static } from 'typebox'
import { ClosedNetworkConfig } from './closed-network-schema.js'
import { DdtConfig } from './ddt-schema.js'
import { GeoConfig, NamesConfig } from './described-eid-schema.js'
import { LispNatConfig, LocatorPathConfig, PetrConfig, PitrConfig } from './interworking-schema.js'
import { Key } from './key-schema.js'
import { MobilityConfig } from './mobility-schema.js'
import { GroupServerConfig, MulticastConfig } from './multicast-schema.js'
import { PublishSubscribeConfig, SubscriptionsConfig } from './publish-subscribe-schema.js'
import { RecordConfig } from './record-schema.js'
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId, PrefixText } from './schema-terms.js'
import { EtrSecurityConfig, SecurityConfig, SiteSecurityConfig } from './security-schema.js'

const ROLES = [
  'itr',
  'etr',
  'pitr',
  'petr',
  'rtr',
  'map-server',
  'map-resolver',
  'ddt-node',
] as const
export type Role = (typeof ROLES)[number]

/** What a peer is known to do otherwise than the RFCs say; src/control/peer-profile.ts says what. */
export const PEER_PROFILES = ['strict', 'rfc6830', 'lispers-net', 'opendaylight', 'cisco'] as const
export type PeerProfileName = (typeof PEER_PROFILES)[number]

const PeerProfileKey = Type.Enum(PEER_PROFILES, {
  default: 'strict',
  description:
    'What the peer is forgiven and how it is spoken to; anything but strict weakens replay protection',
})

const RlocConfig = Type.Object(
  {
    address: AddressText,
    interface: Type.String({ description: 'The interface on the underlay that carries this RLOC' }),
    priority: Type.Integer({
      minimum: 0,
      maximum: 255,
      default: 1,
      description: 'Lower wins; 255 = not for unicast',
    }),
    weight: Type.Integer({
      minimum: 0,
      maximum: 255,
      default: 100,
      description: 'Share among locators of one priority',
    }),
    path: Type.Optional(LocatorPathConfig),
  },
  closed,
)

const SiteInterface = Type.Object(
  {
    name: Type.String({ description: 'Interface towards the hosts: a bridge, a veth, a NIC' }),
    instanceId: InstanceId,
    proxyNeighbours: Type.Boolean({
      default: true,
      description:
        'Answer ARP and ND for EIDs of a dynamic-EID prefix that are elsewhere (never DAD)',
    }),
  },
  closed,
)

const EidPrefixConfig = Type.Object(
  {
    prefix: PrefixText,
    instanceId: InstanceId,
    interface: Type.String({ description: 'Site interface behind which the prefix lives' }),
  },
  closed,
)

const MapServerClient = Type.Object(
  {
    address: AddressText,
    key: Key,
    profile: PeerProfileKey,
    security: Type.Optional(EtrSecurityConfig),
    proxyReply: Type.Boolean({
      default: true,
      description: 'P bit: the Map-Server answers for us',
    }),
    registerSeconds: Type.Number({
      minimum: 1,
      maximum: 3600,
      default: 60,
      description: 'Refresh period (RFC 9301 §8.2)',
    }),
    ttlMinutes: Type.Integer({
      minimum: 1,
      maximum: 1440,
      default: 15,
      description: 'Record TTL of what we register',
    }),
    multicastSources: Type.Optional(
      Type.Array(Type.Object({ prefix: PrefixText, instanceId: InstanceId }, closed), {
        description:
          'Register here only (S,G) with a source inside these, and all (*,G); missing: all (RFC 8378 §5.1.2)',
      }),
    ),
  },
  closed,
)

const HoldConfig = Type.Object(
  {
    packetsPerEid: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 20_000,
      description: 'Packets held for one EID',
    }),
    bytesPerEid: Type.Integer({
      minimum: 1500,
      maximum: 1 << 30,
      default: 8 << 20,
      description: 'Bytes held for one EID',
    }),
    bytesTotal: Type.Integer({
      minimum: 1500,
      maximum: 2 ** 32,
      default: 256 << 20,
      description: 'Bytes held in all',
    }),
    missMs: Type.Integer({
      minimum: 10,
      maximum: 60_000,
      default: 5_000,
      description: 'Longest wait for a mapping',
    }),
    endpointMs: Type.Integer({
      minimum: 10,
      maximum: 60_000,
      default: 4_000,
      description: 'Longest wait for an endpoint; must exceed mobility.endpointTimeoutMs',
    }),
    windowMs: Type.Integer({
      minimum: 100,
      maximum: 30_000,
      default: 2_000,
      description:
        'How far back the copies of a live move are kept, within the limits above; the oldest go. ' +
        'Must exceed mobility.live.guardMs, and the pause of the endpoint if nobody tells of its stop',
    }),
  },
  {
    ...closed,
    default: {},
    description: 'Packets that wait for a mapping or for an endpoint on the move',
  },
)

const DatapathConfig = Type.Object(
  {
    kind: Type.Union([Type.Literal('bpf'), Type.Literal('none')], {
      default: 'bpf',
      description: 'none: a node without packets of its own (Map-Server, Map-Resolver)',
    }),
    pinDirectory: Type.Optional(
      Type.String({ description: 'Under a mounted bpffs; default /sys/fs/bpf/godwit/<node>' }),
    ),
    maximumMappings: Type.Integer({
      minimum: 64,
      maximum: 4 << 20,
      default: 65_536,
      description: 'Entries of the BPF map-cache',
    }),
    maximumLocalEids: Type.Integer({
      minimum: 64,
      maximum: 1 << 20,
      default: 16_384,
      description: 'Own EIDs, host and prefix',
    }),
    pathMtu: Type.Integer({
      minimum: 1280,
      maximum: 65_535,
      default: 1500,
      description: 'Largest outer packet towards any locator (RFC 9300 §7.1: L)',
    }),
    pathMtuDiscovery: Type.Boolean({
      default: true,
      description:
        'Believe ICMP errors of the underlay that quote a packet of ours: a smaller MTU towards that ' +
        'locator for ten minutes (RFC 9300 §7.2), at least 576 bytes over IPv4 and 1280 over IPv6',
    }),
    gpePeers: Type.Array(PrefixText, {
      default: [],
      description:
        'RLOC prefixes of peers known to speak RFC 9305: packets to them carry the P bit, by which ' +
        'their kernels re-aggregate TCP. Never list a peer that does not',
    }),
    onStop: Type.Union([Type.Literal('detach'), Type.Literal('keep')], {
      default: 'detach',
      description: 'keep: packets are forwarded on after a graceful stop, as after a crash',
    }),
    stepOverVeth: Type.Boolean({
      default: true,
      description:
        'Deliver straight into the network namespace behind a site interface that is a veth; captures, ' +
        'queueing disciplines and egress filters on its near end do not see these packets',
    }),
    inboundGro: Type.Boolean({
      default: true,
      description: 'Re-aggregate decapsulated TCP through a veth pair with GRO',
    }),
  },
  { ...closed, default: {} },
)

const MapCacheConfig = Type.Object(
  {
    maximumEntries: Type.Integer({
      minimum: 16,
      maximum: 4 << 20,
      default: 65_536,
      description: 'Oldest unused goes first',
    }),
    smrPerLocatorPerSecond: Type.Number({
      minimum: 1,
      maximum: 10_000,
      default: 100,
      description: 'Ceiling of SMRs to one RLOC',
    }),
    repliesPerLocatorPerSecond: Type.Number({
      minimum: 1,
      maximum: 10_000,
      default: 100,
      description: 'Ceiling of Map-Replies to one RLOC, answers to probes included',
    }),
    maximumPendingRequests: Type.Integer({
      minimum: 16,
      maximum: 1_000_000,
      default: 10_000,
      description: 'Outstanding Map-Requests',
    }),
    widestAnswers: Type.Object(
      {
        ipv4: Type.Integer({ minimum: 0, maximum: 32, default: 16 }),
        ipv6: Type.Integer({ minimum: 0, maximum: 128, default: 32 }),
      },
      {
        ...closed,
        default: {},
        description:
          'Mask lengths: of a shorter prefix than this an answer without LISP-SEC holds for that much around the EID asked for (RFC 9301 §9)',
      },
    ),
  },
  { ...closed, default: {} },
)

const RlocProbeConfig = Type.Object(
  {
    enabled: Type.Boolean({
      default: true,
      description: 'Probe the locators of map-cache entries',
    }),
    intervalSeconds: Type.Number({
      minimum: 1,
      maximum: 3600,
      default: 10,
      description: 'Mean interval, jittered by ±25 %',
    }),
    failures: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 3,
      description: 'Unanswered probes, 1 s apart, before a locator is down',
    }),
  },
  { ...closed, default: {} },
)

const MapServerConfig = Type.Object(
  {
    sites: Type.Array(
      Type.Object(
        {
          name: Type.String({ pattern: '^[a-z0-9][a-z0-9-]*$', description: 'Kebab-case' }),
          keys: Type.Array(Key, {
            minItems: 1,
            description: 'Any of these authenticates the site',
          }),
          prefixes: Type.Array(
            Type.Object(
              {
                prefix: PrefixText,
                instanceId: InstanceId,
                acceptMoreSpecifics: Type.Boolean({
                  default: false,
                  description: 'Mobile hosts register /32 and /128 under it',
                }),
              },
              closed,
            ),
            { description: 'At least one, unless the site is nothing but a relay' },
          ),
          xtrIds: Type.Array(Type.String({ pattern: '^[0-9a-f]{32}$' }), {
            default: [],
            description: 'Only these xTR-IDs may register; empty: any',
          }),
          profile: PeerProfileKey,
          names: NamesConfig,
          geo: Type.Optional(GeoConfig),
          multicastRelay: Type.Boolean({
            default: false,
            description: 'May register as a relay of replication trees (RFC 8378 §9)',
          }),
          security: Type.Optional(SiteSecurityConfig),
          legacyNonces: Type.Boolean({
            default: false,
            description:
              'Accept nonces that do not rise; opens replay. Same as that part of profile rfc6830',
          }),
        },
        closed,
      ),
      { default: [] },
    ),
    registrationSeconds: Type.Integer({
      minimum: 10,
      maximum: 86_400,
      default: 180,
      description: 'A registration not refreshed expires (RFC 9301 §8.2)',
    }),
    maximumRegistrations: Type.Integer({
      minimum: 16,
      maximum: 10_000_000,
      default: 1_000_000,
      description: 'Per Map-Server',
    }),
  },
  { ...closed, default: {} },
)

const ApiConfig = Type.Object(
  {
    socket: Type.Optional(
      Type.String({ description: 'Unix socket, mode 0660; default /run/godwit/<node>.sock' }),
    ),
    tcp: Type.Optional(
      Type.Object(
        {
          address: Type.String({
            default: '127.0.0.1',
            description:
              'Anything but loopback needs tls. Plain TCP knows no users: on loopback every process of this host (and of containers in its network namespace) may command the node; the socket has a file mode instead',
          }),
          port: Type.Integer({
            minimum: 1,
            maximum: 65_535,
            default: 8642,
            description: 'TCP port',
          }),
          tls: Type.Optional(
            Type.Object(
              {
                certificateFile: Type.String({ description: 'PEM, with the chain' }),
                keyFile: Type.String({ description: 'PEM' }),
                clientCaFile: Type.Optional(
                  Type.String({
                    description:
                      'Require client certificates of this CA; without it, whoever reaches the port may command the node',
                  }),
                ),
              },
              closed,
            ),
          ),
        },
        closed,
      ),
    ),
  },
  { ...closed, default: {} },
)

const StoreConfig = Type.Object(
  { directory: Type.Optional(Type.String({ description: 'Default /var/lib/godwit/<node>' })) },
  { ...closed, default: {} },
)

const LogConfig = Type.Object(
  {
    level: Type.Union(
      [
        Type.Literal('debug'),
        Type.Literal('info'),
        Type.Literal('notice'),
        Type.Literal('warning'),
        Type.Literal('error'),
      ],
      { default: 'info' },
    ),
  },
  { ...closed, default: {} },
)

export const ConfigSchema = Type.Object(
  {
    node: Type.String({
      pattern: '^[a-z0-9][a-z0-9-]{0,31}$',
      description: 'Name of this node in logs, metrics and paths',
    }),
    roles: Type.Array(Type.Enum(ROLES), {
      minItems: 1,
      uniqueItems: true,
      description: 'What this node does',
    }),
    xtrId: Type.Optional(
      Type.String({
        pattern: '^[0-9a-f]{32}$',
        description: '128-bit xTR-ID in hex; default: derived from the node name',
      }),
    ),
    siteId: Type.Integer({ minimum: 0, default: 0, description: 'Site-ID (RFC 9301 §5.6)' }),
    rlocs: Type.Array(RlocConfig, {
      minItems: 1,
      maxItems: 16,
      description: 'Our addresses on the underlay; control messages use them too',
    }),
    siteInterfaces: Type.Array(SiteInterface, {
      default: [],
      description: 'Interfaces towards the hosts of this site',
    }),
    eidPrefixes: Type.Array(EidPrefixConfig, {
      default: [],
      description: 'EID-prefixes that always live here',
    }),
    dynamicEidPrefixes: Type.Array(EidPrefixConfig, {
      default: [],
      description: 'Prefixes whose single EIDs may appear here and move away',
    }),
    mapServers: Type.Array(MapServerClient, {
      default: [],
      description: 'Where the ETR registers',
    }),
    mapResolvers: Type.Array(AddressText, {
      default: [],
      description: 'Whom the ITR asks; underlay addresses',
    }),
    pitr: PitrConfig,
    petr: PetrConfig,
    lispNat: LispNatConfig,
    security: SecurityConfig,
    mapCache: MapCacheConfig,
    hold: HoldConfig,
    datapath: DatapathConfig,
    closedNetwork: ClosedNetworkConfig,
    publishSubscribe: PublishSubscribeConfig,
    subscriptions: SubscriptionsConfig,
    rlocProbe: RlocProbeConfig,
    mobility: MobilityConfig,
    multicast: MulticastConfig,
    mapServer: MapServerConfig,
    groupServer: GroupServerConfig,
    ddt: DdtConfig,
    api: ApiConfig,
    store: StoreConfig,
    record: Type.Optional(RecordConfig),
    log: LogConfig,
  },
  { ...closed, $id: 'godwit-config', title: 'godwitd configuration' },
)

/** A validated configuration with every default filled in. Addresses are still text. */
export type Config = Static<typeof ConfigSchema>
