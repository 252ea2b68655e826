/**
 * The parts of the configuration schema that describe how LISP sites and the rest of the Internet
 * reach each other (RFC 6832), and explicit locator paths (RFC 8060 §4.6).
 */
import { Type } from './schema-builder.js'
import { AddressText, closed, InstanceId, PrefixText } from './schema-terms.js'

/** The datapath keeps so many translations in mind for a packet (RFC 6832 §7). */
const MAXIMUM_TRANSLATIONS = 64

const ForeignPrefix = Type.Object({ prefix: PrefixText, instanceId: InstanceId }, closed)

export const PitrConfig = Type.Object(
  {
    prefixes: Type.Array(ForeignPrefix, {
      default: [],
      description:
        'EID-prefixes that this Proxy-ITR attracts: what arrives for them on a site interface is ' +
        'encapsulated, all else goes the way of the kernel. Originate routes to them where the senders are',
    }),
  },
  { ...closed, default: {}, description: 'Role pitr (RFC 6832 §5)' },
)

export const PetrConfig = Type.Object(
  {
    rlocs: Type.Array(AddressText, {
      default: [],
      maxItems: 8,
      description:
        'Proxy-ETRs that get what the mapping system says to forward natively (RFC 6832 §6); ' +
        'empty: the kernel routes it',
    }),
    sites: Type.Array(ForeignPrefix, {
      default: [],
      description:
        'Role petr: the EID-prefixes whose packets this Proxy-ETR lets out; other sources are dropped ' +
        '(RFC 6832 §6.1)',
    }),
  },
  { ...closed, default: {} },
)

export const LispNatConfig = Type.Array(
  Type.Object(
    {
      inside: PrefixText,
      outside: Type.String({
        description: 'A routable prefix of the same family and length, that leads to this router',
      }),
      instanceId: InstanceId,
    },
    closed,
  ),
  {
    default: [],
    maxItems: MAXIMUM_TRANSLATIONS,
    description:
      'LISP-NAT (RFC 6832 §7): sources inside are translated one to one where packets leave natively, ' +
      'and destinations outside where packets come back; ports stay',
  },
)

export const LocatorPathConfig = Type.Array(
  Type.Object(
    {
      address: AddressText,
      lookup: Type.Boolean({
        default: false,
        description: 'L: the address is looked up in the mapping system (instance-ID 0)',
      }),
      probe: Type.Boolean({ default: false, description: 'P: RLOC-probes may be sent to it' }),
      strict: Type.Boolean({ default: true, description: 'S: the hop may not be skipped' }),
    },
    closed,
  ),
  {
    maxItems: 16,
    description:
      'RTRs that packets to this RLOC pass, in order; registered as an explicit locator path ' +
      '(RFC 8060 §4.6) that ends here',
  },
)
