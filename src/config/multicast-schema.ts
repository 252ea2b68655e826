/**
 * The keys of a configuration for signal-free multicast (RFC 8378), on both sides.
 */
import { PimConfig, RendezvousPoints } from './pim-schema.js'
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId } from './schema-terms.js'

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
