/** The part of the configuration schema that describes the delegation tree (RFC 8111). */
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId, PrefixText } from './schema-terms.js'

/** What a DDT node may speak of; without a prefix the whole instance, IPv4 and IPv6. */
const DdtPrefix = {
  prefix: Type.Optional(PrefixText),
  instanceId: InstanceId,
}

export const DdtConfig = Type.Object(
  {
    roots: Type.Array(AddressText, {
      default: [],
      description:
        'Map-Resolver: RLOCs of the root nodes, where every search begins (RFC 8111 §7.3)',
    }),
    root: Type.Boolean({
      default: false,
      description: 'DDT node: authoritative for every instance-ID and family',
    }),
    authoritative: Type.Array(Type.Object(DdtPrefix, closed), {
      default: [],
      description:
        'DDT node: what it is authoritative for; what it neither delegates nor serves is a hole',
    }),
    delegations: Type.Array(
      Type.Object(
        {
          ...DdtPrefix,
          nodes: Type.Array(AddressText, { default: [], description: 'RLOCs of child DDT nodes' }),
          mapServers: Type.Array(AddressText, {
            default: [],
            description: 'RLOCs of Map-Servers: a referral to them ends the search',
          }),
          keyFiles: Type.Array(Type.String(), {
            default: [],
            maxItems: 4,
            description: 'PEM public keys (RSA) with which they sign; told in our signed referrals',
          }),
          revokedKeyFiles: Type.Array(Type.String(), {
            default: [],
            maxItems: 4,
            description:
              'Keys they must not be believed by any more; keep them listed for a day at least (RFC 8111 §10.2.1)',
          }),
        },
        closed,
      ),
      { default: [], description: 'DDT node: who knows more; each has nodes or mapServers' },
    ),
    peers: Type.Array(AddressText, {
      default: [],
      description:
        'Map-Server: all Map-Servers with the same sites, this one included; without the list its referrals are incomplete and are not cached (RFC 8111 §6.3)',
    }),
    signingKeyFiles: Type.Array(Type.String(), {
      default: [],
      maxItems: 4,
      description: 'PEM private keys (RSA); each signs every referral (RFC 8111 §10)',
    }),
    rootKeyFiles: Type.Array(Type.String(), {
      default: [],
      maxItems: 4,
      description:
        'Map-Resolver: PEM public keys of the roots; with them, only signed referrals count',
    }),
    maximumReferrals: Type.Integer({
      minimum: 16,
      maximum: 1_000_000,
      default: 10_000,
      description: 'Map-Resolver: referrals remembered; what expires soonest goes first',
    }),
  },
  { ...closed, default: {}, description: 'Delegation tree of the mapping system (RFC 8111)' },
)
