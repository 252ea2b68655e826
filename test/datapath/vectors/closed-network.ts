/**
 * Closed networks: nonces (RFC 9300 §10.1), locator-status-bits (§10), map-versions (RFC 9302 §7),
 * doubted sources (§16) and gleaning (§9), on the way out and on the way in.
 */
import type { ClosedOperation } from '../../../src/control/closed-network/closed-vocabulary.js'
import type { DatapathEvent } from '../../../src/control/datapath-event.js'
import { parseIpAddress } from '../../../src/lisp/address.js'
import { parseEid, parseEidPrefix } from '../../../src/lisp/eid.js'
import type { LispHeaderFields } from '../frames.js'
import { fromCore, fromHost, HOST, inbound, REMOTE, tunnelled } from '../packets.js'
import type { PacketVector, VectorGroup, VectorOutcome, VectorStep } from './vector.js'

const rloc = (text: string) => parseIpAddress(text)!
const eid = (text: string) => parseEid(`[7]${text}`)!

function facts(
  side: 'own' | 'remote',
  prefix: string,
  about: { version?: number; bits?: number; dropStale?: boolean },
): ClosedOperation {
  return {
    kind: 'put-mapping-facts',
    side,
    eidPrefix: parseEidPrefix(`[7]${prefix}`)!,
    mapVersion: about.version,
    statusBits: about.bits,
    dropStale: about.dropStale ?? false,
  }
}

/** 12 bits each, as they stand in the 24-bit field. */
function versions(source: number, destination: number): LispHeaderFields {
  const field: [number, number, number] = [
    source >> 4,
    ((source & 15) << 4) | (destination >> 8),
    destination & 255,
  ]
  return { flags: 0x18, nonce: field }
}

/** The n-th peer: events are limited by sender, so each vector has its own. */
const peer = (n: number) => `198.51.100.${100 + n}`

function leaves(n: number, lisp: LispHeaderFields, what: string): VectorStep {
  const inner = fromHost(4, { ttl: 63 }).slice(14)
  const outer = { destination: peer(n), ttl: 63 }
  return {
    what,
    from: 'site',
    frame: fromHost(4),
    out: { core: tunnelled(4, inner, { outer, lisp }) },
  }
}

function arrives(
  n: number,
  lisp: LispHeaderFields,
  out: 'delivered' | VectorOutcome,
  raises: readonly DatapathEvent[],
  what = '',
): VectorStep {
  const frame = fromCore(4, inbound(4), { lisp, outer: { source: peer(n) } })
  return { what, from: 'core', frame, raises, out: out === 'delivered' ? DELIVERED : out }
}

const DELIVERED: VectorOutcome = { site: inbound(4) }
const PLAIN: LispHeaderFields = {}

function between(
  n: number,
  about: Pick<PacketVector, 'name' | 'closed' | 'facts' | 'steps'>,
): PacketVector {
  return {
    locals: { [HOST[4]]: { state: 'local' } },
    mappings: {
      [REMOTE[4]]: { action: 'forward', to: [{ family: 4, destination: peer(n), closed: true }] },
    },
    ...about,
  }
}

const NONCE: [number, number, number] = [0xab, 0xcd, 0xef]
const request = (n: number, nonce: number | undefined): ClosedOperation => ({
  kind: 'request-nonce-echo',
  rloc: rloc(peer(n)),
  nonce,
})
const echoed = (n: number, is: boolean): DatapathEvent => ({
  kind: 'nonce-echo',
  rloc: rloc(peer(n)),
  echoed: is,
})
const doubted = (n: number, why: 'rloc' | 'map-version'): DatapathEvent => ({
  kind: 'source-doubted',
  eid: eid(REMOTE[4]),
  sender: rloc(peer(n)),
  why,
})
const stale = (n: number): DatapathEvent => ({
  kind: 'stale-map-version',
  eid: eid(HOST[4]),
  sender: rloc(peer(n)),
})
const ours = (version: number, dropStale = false) =>
  facts('own', '10.1.0.0/24', { version, dropStale })
const theirs = (version: number) => facts('remote', '10.2.0.0/16', { version })

const NONCES: readonly PacketVector[] = [
  between(1, {
    name: 'a nonce is asked for in every packet until it is no longer wanted',
    closed: { echoNonce: true },
    facts: [request(1, 0xabcdef)],
    steps: [
      leaves(1, { flags: 0xa8, nonce: NONCE }, 'N and E'),
      leaves(1, { flags: 0xa8, nonce: NONCE }, 'again'),
      { ...leaves(1, PLAIN, 'no longer'), operations: [request(1, undefined)] },
    ],
  }),
  between(2, {
    name: 'a nonce that a peer asks for goes back once, and before our own question',
    closed: { echoNonce: true },
    facts: [request(2, 0xabcdef)],
    steps: [
      arrives(2, { flags: 0xa8, nonce: [1, 2, 3] }, 'delivered', [], 'nobody was asked yet'),
      leaves(2, { flags: 0x88, nonce: [1, 2, 3] }, 'N without E'),
      leaves(2, { flags: 0xa8, nonce: NONCE }, 'then ours'),
      arrives(2, { flags: 0xa8, nonce: [1, 2, 3] }, 'delivered', [echoed(2, false)]),
    ],
  }),
  between(3, {
    name: 'the echo of our nonce is told',
    closed: { echoNonce: true },
    facts: [request(3, 0xabcdef)],
    steps: [arrives(3, { flags: 0x88, nonce: NONCE }, 'delivered', [echoed(3, true)])],
  }),
  between(4, {
    name: 'another nonce is no echo, N goes before V, and E means nothing without N',
    closed: { echoNonce: true, mapVersions: true },
    facts: [request(4, 0xabcdef), ours(5)],
    steps: [
      leaves(4, { flags: 0xa8, nonce: NONCE }, 'asked'),
      arrives(4, { flags: 0x98, nonce: [0, 0, 9] }, 'delivered', [echoed(4, false)]),
      arrives(4, { flags: 0x28, nonce: NONCE }, 'delivered', []),
      leaves(4, { flags: 0xa8, nonce: NONCE }, 'nothing to echo'),
    ],
  }),
  between(5, {
    name: 'switched off, nothing is asked, echoed or told',
    facts: [request(5, 0xabcdef), ours(5), theirs(3)],
    steps: [
      leaves(5, PLAIN, 'no bit'),
      arrives(5, { flags: 0xa8, nonce: [1, 2, 3] }, 'delivered', []),
      leaves(5, PLAIN, 'no echo'),
    ],
  }),
]

const VERSIONS: readonly PacketVector[] = [
  between(10, {
    name: 'both versions go along, the null version of the destination never',
    closed: { mapVersions: true },
    facts: [ours(0x123), theirs(0x456)],
    steps: [
      leaves(10, versions(0x123, 0x456), 'both'),
      {
        ...leaves(10, versions(0, 0x456), 'a source without a version says 0'),
        operations: [ours(0)],
      },
      { ...leaves(10, PLAIN, 'no version of the destination'), operations: [theirs(0)] },
    ],
  }),
  between(11, {
    name: 'the version of our mapping: equal passes, newer is dropped',
    closed: { mapVersions: true },
    facts: [ours(4090)],
    steps: [
      arrives(11, versions(0, 4090), 'delivered', []),
      arrives(11, versions(0, 4091), { drop: 'future-map-version' }, []),
      arrives(11, versions(0, 3), { drop: 'future-map-version' }, [], 'across the wrap'),
      arrives(11, versions(0, 0), 'delivered', [], 'the null version is not compared'),
    ],
  }),
  between(12, {
    name: 'an old version of our mapping passes and is told, or is dropped once it is refused',
    closed: { mapVersions: true },
    facts: [ours(5)],
    steps: [
      arrives(12, versions(0, 4), 'delivered', [stale(12)]),
      {
        ...arrives(12, versions(0, 4), { drop: 'stale-map-version' }, []),
        operations: [refusal(12, true)],
      },
      {
        ...arrives(12, versions(0, 4095), 'delivered', []),
        operations: [refusal(12, false)],
      },
      {
        ...arrives(12, versions(0, 4), { drop: 'stale-map-version' }, [], 'its TTL has passed'),
        operations: [ours(5, true)],
      },
    ],
  }),
  between(13, {
    name: 'V for a mapping without a version is dropped; while none is known nothing is compared',
    closed: { mapVersions: true },
    steps: [
      arrives(13, versions(0, 7), 'delivered', [], 'an EID that has just come'),
      {
        ...arrives(13, versions(0, 7), { drop: 'null-map-version' }, []),
        operations: [ours(0)],
      },
    ],
  }),
  between(14, {
    name: 'the version of the source: newer is told, older dropped, null or uncached ignored',
    closed: { mapVersions: true },
    facts: [ours(5)],
    steps: [
      arrives(14, versions(9, 5), 'delivered', [], 'nothing is cached'),
      {
        ...arrives(14, versions(9, 5), 'delivered', [doubted(14, 'map-version')]),
        operations: [theirs(8)],
      },
      arrives(14, versions(7, 5), { drop: 'stale-map-version' }, [], 'older'),
      arrives(14, versions(8, 5), 'delivered', [], 'equal'),
      arrives(14, versions(0, 5), 'delivered', [], 'null'),
    ],
  }),
]

const STATUS_BITS: readonly PacketVector[] = [
  between(20, {
    name: 'the bits of the longest match of the source go along',
    closed: { statusBits: true, mapVersions: true },
    facts: [
      facts('own', '10.1.0.0/16', { version: 1, bits: 1 }),
      facts('own', '10.1.0.0/24', { version: 1, bits: 3 }),
    ],
    steps: [
      leaves(20, { flags: 0x48, low: 3 }, 'of the /24'),
      {
        ...leaves(20, PLAIN, 'none while the use-LSB timer runs'),
        operations: [ours(1)],
      },
    ],
  }),
  between(21, {
    name: 'bits other than known are told, once a second',
    closed: { statusBits: true },
    facts: [facts('remote', '10.2.0.0/16', { version: 1, bits: 3 })],
    steps: [
      arrives(21, { flags: 0x48, low: 3 }, 'delivered', []),
      arrives(21, { flags: 0x48, low: 1 }, 'delivered', [
        { kind: 'status-bits-changed', eid: eid(REMOTE[4]), sender: rloc(peer(21)), statusBits: 1 },
      ]),
      arrives(21, { flags: 0x48, low: 0 }, 'delivered', [], 'within the second'),
      arrives(21, { flags: 0x08, low: 1 }, 'delivered', [], 'without L they mean nothing'),
    ],
  }),
]

const SOURCES: readonly PacketVector[] = [
  between(30, {
    name: 'a source at another RLOC than its mapping says passes while it is asked about',
    closed: { checkSources: true },
    steps: [
      arrives(30, PLAIN, 'delivered', [], 'where its mapping says'),
      arrives(31, PLAIN, 'delivered', [doubted(31, 'rloc')]),
      arrives(31, PLAIN, 'delivered', [], 'asked already'),
    ],
  }),
  between(34, {
    name: 'what a relay sends on says nothing about its source',
    closed: { checkSources: true, glean: true, relays: [rloc(peer(35))] },
    steps: [arrives(35, PLAIN, 'delivered', [])],
  }),
  {
    ...between(36, {
      name: 'nor is it gleaned from',
      closed: { glean: true, relays: [rloc(peer(36))] },
      steps: [arrives(36, PLAIN, 'delivered', [])],
    }),
    mappings: {},
  },
  {
    ...between(32, {
      name: 'a source without a mapping cannot be judged, and is gleaned',
      closed: { checkSources: true, glean: true },
      steps: [
        arrives(32, PLAIN, 'delivered', [
          { kind: 'source-unmapped', eid: eid(REMOTE[4]), sender: rloc(peer(32)) },
        ]),
      ],
    }),
    mappings: {},
  },
  between(33, {
    name: 'under the P bit N, E and V are ignored',
    closed: { echoNonce: true, mapVersions: true },
    facts: [request(33, 1), ours(5)],
    steps: [arrives(33, { flags: 0xbc, nonce: [0, 0, 1] }, 'delivered', [])],
  }),
]

export const CLOSED_NETWORK: readonly VectorGroup[] = [
  { title: 'nonces are asked for and echoed only in closed networks', vectors: NONCES },
  { title: 'map-versions of both ends, sent and compared', vectors: VERSIONS },
  { title: 'locator-status-bits, sent and compared', vectors: STATUS_BITS },
  { title: 'sources that their mappings do not name, or that have none', vectors: SOURCES },
]

function refusal(n: number, refused: boolean): ClosedOperation {
  const eidPrefix = parseEidPrefix('[7]10.1.0.0/24')!
  return { kind: 'refuse-stale-version', eidPrefix, sender: rloc(peer(n)), refused }
}
