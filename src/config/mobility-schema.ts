/**
 * Configuration of moves: who may ask for them, how long they wait, and the bounds of live moves.
 *
 * Defaults are our choice unless a comment cites an RFC; what a live move is, is told in
 * docs/mobility.md.
 */
import { Key } from './key-schema.js'
import { Type } from './schema-builder.js'
import { AddressText, closed } from './schema-terms.js'

const LiveMoveConfig = Type.Object(
  {
    guardMs: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 50,
      description:
        'What the endpoint had not read when it stopped, and how late the news of it may be: so much ' +
        'before the stop is delivered again. Less loses, more doubles',
    }),
    leaseSeconds: Type.Integer({
      minimum: 3,
      maximum: 300,
      default: 30,
      description:
        'A source copies so long without being asked again, also when its daemon has died; a ' +
        'destination asks three times within it',
    }),
    longestSeconds: Type.Integer({
      minimum: 10,
      maximum: 604_800,
      default: 21_600,
      description: 'A live move whose endpoint has not stopped by then is called off',
    }),
    copyMegabitsPerSecond: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1000,
      description:
        'Copies of the packets of one EID; beyond it packets are delivered and not copied, counted as ' +
        'copy-rate-limited, and the move is not lossless',
    }),
  },
  { ...closed, default: {}, description: 'Moves of endpoints that run on while they are prepared' },
)

export const MobilityConfig = Type.Object(
  {
    key: Type.Optional(Key),
    peers: Type.Array(AddressText, {
      default: [],
      description: 'RLOCs of the xTRs of this mobility domain; empty: any that holds the key',
    }),
    endpointTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 30_000,
      default: 2_000,
      description: 'An orchestrated move whose endpoint has not come by then is rolled back',
    }),
    awaySeconds: Type.Integer({
      minimum: 5,
      maximum: 86_400,
      default: 60,
      description: 'An away EID without traffic is forgotten after this and its record TTL',
    }),
    hold: Type.Boolean({ default: true, description: 'Off only to measure what holding protects' }),
    redirect: Type.Boolean({
      default: true,
      description: 'Off only to measure what redirecting protects',
    }),
    solicit: Type.Boolean({
      default: true,
      description: 'Send SMRs; off only to measure what they protect',
    }),
    dhcpSnooping: Type.Boolean({
      default: true,
      description:
        'Ask the segment for addresses of dynamic EIDs that DHCP or duplicate address detection names; ' +
        'nobody is believed but the host that answers',
    }),
    live: LiveMoveConfig,
  },
  { ...closed, default: {} },
)
