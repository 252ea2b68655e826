/**
 * The keys of a configuration for signal-free multicast (RFC 8378), on both sides.
 */
import { PimConfig, RendezvousPoints } from './pim-schema.js'
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId } from './schema-terms.js'

/** IGMP and MLD on the site interfaces. The defaults are those of RFC 3376 §8 and RFC 3810 §9. */
const MembershipConfig = Type.Object(
  {
    enabled: Type.Boolean({
      default: true,
      description:
        'Ask the hosts of the site interfaces what they listen to, where multicast is on',
    }),
    igmpVersion: Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(3)], {
      default: 3,
      description: 'Lower where another router of a segment knows no newer one',
    }),
    mldVersion: Type.Union([Type.Literal(1), Type.Literal(2)], {
      default: 2,
      description: 'Lower where another router of a segment knows no newer one',
    }),
    queryIntervalSeconds: Type.Number({
      minimum: 1,
      maximum: 31_744,
      default: 125,
      description: 'Between general queries',
    }),
    queryResponseMs: Type.Integer({
      minimum: 100,
      maximum: 3_000_000,
      default: 10_000,
      description: 'Within which hosts answer a general query; less than the query interval',
    }),
    robustness: Type.Integer({
      minimum: 1,
      maximum: 7,
      default: 2,
      description: 'One message in so many in a row gets through; queries of a leave are as many',
    }),
    lastMemberQueryMs: Type.Integer({
      minimum: 100,
      maximum: 60_000,
      default: 1_000,
      description: 'Between the queries of a leave; a group ends after these times the robustness',
    }),
    fastLeave: Type.Boolean({
      default: false,
      description:
        'End a group at once when the last host that is known to listen leaves, without queries; loses packets where hosts hide behind each other',
    }),
    querierCandidates: Type.Array(AddressText, {
      default: [],
      description:
        'Addresses on the segments of the other xTRs of this site: the one that is elected querier registers and replicates (RFC 8378 §7)',
    }),
    maximumGroups: Type.Integer({
      minimum: 1,
      maximum: 65_536,
      default: 1024,
      description: 'Groups with listeners per site interface and family; further joins are refused',
    }),
    maximumGroupsPerHost: Type.Integer({
      minimum: 1,
      maximum: 65_536,
      default: 256,
      description: 'Groups of one host, so that none takes all',
    }),
    maximumSources: Type.Integer({
      minimum: 1,
      maximum: 4096,
      default: 64,
      description: 'Sources of one group that listeners name',
    }),
  },
  { ...closed, default: {}, description: 'IGMP and MLD on the site interfaces' },
)

/** As an xTR of a site, or as an RTR of replication trees. */
export const MulticastConfig = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'Serve the groups of the site: register receivers, replicate for sources',
    }),
    siteXtrs: Type.Array(AddressText, {
      default: [],
      description:
        'One RLOC of each xTR of this site, ours included; the lowest registers and replicates for all until a querier is elected. Empty: we are alone',
    }),
    relayLevel: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 127,
        description: 'We are an RTR of replication trees at this level (RFC 8378 §9), and no site',
      }),
    ),
    relayInstances: Type.Array(InstanceId, {
      default: [0],
      description: 'For which instance-IDs we relay',
    }),
    maximumGroups: Type.Integer({
      minimum: 1,
      maximum: 65_536,
      default: 4096,
      description: '(S,G) and (*,G) with listeners that are registered; further joins are refused',
    }),
    maximumSources: Type.Integer({
      minimum: 1,
      maximum: 65_536,
      default: 4096,
      description: '(S,G) that are replicated; further ones are not',
    }),
    pim: PimConfig,
    membership: MembershipConfig,
  },
  { ...closed, default: {} },
)

/** As a Map-Server. */
export const GroupServerConfig = Type.Object(
  {
    fanOut: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 64,
      description: 'Longest replication list of one replicator; beyond it relays are used',
    }),
    maximumMembers: Type.Integer({
      minimum: 16,
      maximum: 10_000_000,
      default: 1_000_000,
      description: 'Registrations of receiver sites in all groups',
    }),
    maximumMembersPerGroup: Type.Integer({
      minimum: 1,
      maximum: 4096,
      default: 4096,
      description: 'Receiver sites of one group',
    }),
    rendezvousPoints: RendezvousPoints,
  },
  { ...closed, default: {} },
)
