/**
 * The keys of a configuration for what RFC 9300 §4.1 allows in closed networks only. All off by default:
 * anybody who can send packets to an RLOC can forge these fields.
 */
import { Type } from './schema-builder.js'
import { AddressText, closed } from './schema-terms.js'

export const ClosedNetworkConfig = Type.Object(
  {
    echoNonce: Type.Boolean({
      default: false,
      description:
        'Ask ETRs that offer it to echo nonces, and echo theirs (RFC 9300 §10.1); finds a dead path ' +
        'within seconds while packets come back another way',
    }),
    statusBits: Type.Boolean({
      default: false,
      description:
        'Send and watch locator-status-bits (RFC 9300 §10); they need mapVersions, and rest for 5 ' +
        'minutes after a locator-set has changed',
    }),
    mapVersions: Type.Boolean({
      default: false,
      description:
        'Send and compare map-versions (RFC 9302): senders with an old mapping are solicited, after ' +
        '10 times in vain their packets are dropped',
    }),
    checkSources: Type.Boolean({
      default: false,
      description:
        'Drop packets whose inner source is mapped to other RLOCs than they come from (RFC 9300 §16); ' +
        'while the mapping system is asked they pass for 3 seconds, because an EID may just have moved',
    }),
    glean: Type.Boolean({
      default: false,
      description:
        'Believe for 3 seconds that an unknown source is where its packet came from, while the mapping ' +
        'system is asked (RFC 9300 §9); ask it also about mappings that come with Map-Requests',
    }),
    relays: Type.Array(AddressText, {
      default: [],
      description:
        'RLOCs that send on packets of others, as RTRs do: their packets say nothing about a source. ' +
        'mobility.peers are among them, because an xTR that an EID has left redirects',
    }),
  },
  {
    ...closed,
    default: {},
    description: 'Never on the public Internet (RFC 9300 §4.1): what senders could forge there',
  },
)
