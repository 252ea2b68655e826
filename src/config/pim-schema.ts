/**
 * The keys of a configuration for PIM: beside routers of the site (RFC 7761), and between xTRs (RFC 6831).
 */
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId, PrefixText } from './schema-terms.js'

const GroupsAt = (description: string) =>
  Type.Object({ groups: PrefixText, address: AddressText }, { ...closed, description })

export const RendezvousPoints = Type.Array(GroupsAt('Groups and their rendezvous point'), {
  default: [],
  description: 'Of groups without a source; IPv6 groups may name their own (RFC 3956)',
})

export const PimConfig = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'Speak PIM on the site interfaces, beside routers of the site',
    }),
    drPriority: Type.Integer({
      minimum: 0,
      maximum: 0xffffffff,
      default: 1,
      description: 'Of our Hellos: the highest of a link is its Designated Router',
    }),
    helloSeconds: Type.Integer({
      minimum: 1,
      maximum: 3600,
      default: 30,
      description: 'Period of our Hellos; they hold for 3.5 periods',
    }),
    sourceRoutes: Type.Array(
      Type.Object(
        { prefix: PrefixText, instanceId: InstanceId, neighbour: AddressText },
        { ...closed, description: 'Sources behind a router of the site, by its PIM address' },
      ),
      {
        default: [],
        description:
          'Who is joined for sources of the site; else the PIM neighbour of the highest priority',
      },
    ),
    rendezvousPoints: RendezvousPoints,
    joinSites: Type.Boolean({
      default: false,
      description:
        'Join the sources of other sites by PIM at their xTRs (RFC 6831, RFC 8059) and not by the mapping system (RFC 8378)',
    }),
    joiners: Type.Array(PrefixText, {
      default: [],
      description: 'RLOCs of other sites whose joins are taken; empty: none',
    }),
    underlayMulticast: Type.Boolean({
      default: false,
      description: 'The core forwards groups: join there, and send one copy to a group',
    }),
    underlayGroups: Type.Array(GroupsAt('Groups of sites, and the group of the core for them'), {
      default: [],
      description: 'Groups of the core (RFC 9798); other groups are sent to their own address',
    }),
  },
  { ...closed, default: {} },
)
