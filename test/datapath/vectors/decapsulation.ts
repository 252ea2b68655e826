/**
 * From the core: decapsulation (RFC 9300 §5.3), ECN (RFC 6040 §4.2), the P bit (RFC 9305), the states of
 * our EIDs, and what is malformed.
 */
import { parseIpAddress } from '../../../src/lisp/address.js'
import { parseEid } from '../../../src/lisp/eid.js'
import { ip, ipFrame, type LispHeaderFields, tcp } from '../frames.js'
import { data, FAMILIES, fromCore, HOST, inbound, tunnelled } from '../packets.js'
import { MAC, OWN_RLOC, PEER_RLOC } from '../workbench.js'
import type { PacketVector, VectorGroup, VectorOutcome, VectorStep } from './vector.js'

const here = { [HOST[4]]: { state: 'local' }, [HOST[6]]: { state: 'local' } } as const
const core = (frame: Uint8Array, out: VectorOutcome, what = ''): VectorStep => ({
  from: 'core',
  frame,
  out,
  what,
})

const changed = (frame: Uint8Array, at: number, byte: number): Uint8Array => {
  frame[at] = byte
  return frame
}

const allFamilies: PacketVector[] = FAMILIES.flatMap((eid) =>
  FAMILIES.map((rloc) => ({
    name: `IPv${eid} in IPv${rloc}`,
    locals: here,
    steps: [
      {
        from: 'core',
        frame: fromCore(rloc, inbound(eid, { ttl: 60 }), {
          outer: { ttl: 20, trafficClass: 0xb8 },
        }),
        out: { site: inbound(eid, { ttl: 20, trafficClass: 0xb8 }) },
        tally: 'decapsulated',
      },
      core(
        fromCore(rloc, inbound(eid, { ttl: 5 }), { outer: { ttl: 60 } }),
        { site: inbound(eid, { ttl: 5 }) },
        'a TTL never grows',
      ),
      core(
        changed(fromCore(rloc, inbound(eid)), rloc === 4 ? 40 : 60, 0x12),
        { site: inbound(eid) },
        'a UDP checksum is not verified, whatever it is',
      ),
    ],
  })),
)

/** Rows: inner; columns: outer; both Not-ECT, ECT(1), ECT(0), CE. */
const ECN_TABLE: readonly (readonly (number | 'drop')[])[] = [
  [0, 0, 0, 'drop'],
  [1, 1, 1, 3],
  [2, 1, 2, 3],
  [3, 3, 3, 3],
]
const ecn: PacketVector[] = FAMILIES.map((eid) => ({
  name: `IPv${eid}`,
  locals: here,
  steps: ECN_TABLE.flatMap((row, inner) =>
    row.map((result, outer) =>
      core(
        fromCore(eid, inbound(eid, { trafficClass: 0x28 | inner }), {
          outer: { trafficClass: 0x28 | outer },
        }),
        result === 'drop'
          ? { drop: 'ecn-not-ect-marked' }
          : { site: inbound(eid, { trafficClass: 0x28 | result }) },
        `inner ${inner} outer ${outer}`,
      ),
    ),
  ),
}))

const bits = (lisp: LispHeaderFields, out: VectorOutcome, what: string): VectorStep =>
  core(fromCore(4, inbound(4, { trafficClass: 0x28 }), { lisp }), out, what)
const plain = { site: inbound(4) }
const kept = { site: inbound(4, { trafficClass: 0x28 }) }
const headerBits: VectorStep[] = [
  bits({ flags: 0xf8, nonce: [1, 2, 3], low: 0xff }, plain, 'N, L, E, V and their fields'),
  bits({ flags: 0x28 }, plain, 'E without N'),
  bits({ flags: 0x98, nonce: [9, 9, 9] }, plain, 'N and V'),
  bits({ flags: 0x00 }, { drop: 'unknown-eid' }, 'no I bit: instance 0'),
  bits({ instanceId: 8 }, { drop: 'unknown-eid' }, 'another instance'),
  bits({ flags: 0x09 }, { drop: 'malformed-outer' }, 'encrypted (KK)'),
  bits({ flags: 0x0c, nonce: [0, 0, 1] }, kept, 'P bit: the inner DSCP stays'),
  bits({ flags: 0xfc, nonce: [9, 9, 1], low: 0xff }, kept, 'with the P bit too'),
  ...[0, 2, 3, 4, 0x7e, 0x80, 0xfd, 0xff].map((next) =>
    bits({ flags: 0x0c, nonce: [0, 0, next] }, { drop: 'unsupported-gpe' }, `next ${next}`),
  ),
]

const malformed = (inner: Uint8Array, what: string): VectorStep =>
  core(fromCore(4, inner), { drop: 'malformed-inner' }, what)
const THERE = { 4: '198.51.100.9', 6: '2001:db8:d::9' } as const

const away: PacketVector[] = FAMILIES.flatMap((eid) =>
  FAMILIES.flatMap((rloc) =>
    FAMILIES.map((next) => {
      const frame = fromCore(rloc, inbound(eid, { trafficClass: 0x01 }), {
        outer: { ttl: 30, trafficClass: 0x2b },
      })
      const outer = { destination: THERE[next], ttl: 29, trafficClass: 0x2b }
      const inner = inbound(eid, { ttl: 29, trafficClass: 0x2b })
      return {
        name: `IPv${eid} in IPv${rloc} to IPv${next}: CE kept, TTL one less`,
        locals: { [HOST[eid]]: { state: 'away' } },
        mappings: {
          [HOST[eid]]: { action: 'forward', to: [{ family: next, destination: THERE[next] }] },
        },
        steps: [
          {
            from: 'core',
            // A UDP checksum, which must not travel on.
            frame: changed(frame, rloc === 4 ? 40 : 60, 0x12),
            out: { core: tunnelled(next, inner, { outer }) },
            tally: 'reencapsulated',
          },
        ],
      }
    }),
  ),
)

const stranger = { destination: '10.1.9.9' }
const sender = parseIpAddress(PEER_RLOC[4])!

export const DECAPSULATION: readonly VectorGroup[] = [
  {
    title: 'decapsulation delivers exact packets in all four family combinations',
    vectors: allFamilies,
  },
  { title: 'ECN is combined as RFC 6040 figure 4 says, all 16 cells', vectors: ecn },
  {
    title: 'header bits: what RFC 9300 and RFC 9305 ignore is ignored, the rest refused',
    vectors: [{ name: 'bits', locals: here, steps: headerBits }],
  },
  {
    title: 'what is not LISP data for us is passed on',
    vectors: [
      {
        name: 'passed on',
        locals: here,
        steps: [
          core(fromCore(4, inbound(4), { outer: { destination: '192.0.2.9' } }), 'pass', 'v4'),
          core(
            fromCore(6, inbound(4), { outer: { destination: '2001:db8:c::9' } }),
            'pass',
            'not our IPv6 RLOC',
          ),
          core(changed(fromCore(4, inbound(4)), 37, 0xf6), 'pass', 'port 4342'),
          core(changed(fromCore(4, inbound(4)), 20, 0x20), 'pass', 'a fragment'),
          core(
            ipFrame(
              MAC.core,
              MAC.router,
              ip({ source: '192.0.2.7', destination: OWN_RLOC[4] }, tcp(1, 2, data(9))),
            ),
            'pass',
            'no UDP',
          ),
        ],
      },
    ],
  },
  {
    title: 'malformed packets are dropped by what is wrong with them',
    vectors: [
      {
        name: 'inner and outer',
        locals: here,
        steps: [
          malformed(data(40), 'no IP version'),
          malformed(inbound(4).slice(0, 12), 'truncated'),
          malformed(inbound(4).slice(0, 60), 'longer than it is'),
          malformed(inbound(6).slice(0, 30), 'half an IPv6 header'),
          core(changed(fromCore(4, inbound(4)), 38, 0x40), { drop: 'malformed-outer' }, 'UDP'),
          core(fromCore(6, inbound(4)).slice(0, -10), { drop: 'malformed-outer' }, 'cut off'),
          core(
            fromCore(4, new Uint8Array([...inbound(4), ...data(5)])),
            { site: inbound(4) },
            'bytes behind the inner packet are cut',
          ),
        ],
      },
    ],
  },
  {
    title: 'the states of an EID of ours',
    vectors: [
      {
        name: 'nobody home in a dynamic-EID prefix: its sender is told',
        locals: { '10.1.9.0/24': { state: 'prefix' } },
        steps: [
          {
            from: 'core',
            frame: fromCore(4, inbound(4, stranger)),
            out: { drop: 'unknown-eid' },
            raises: [{ kind: 'unknown-eid', eid: parseEid('[7]10.1.9.9')!, sender }],
          },
          {
            what: 'outside of every prefix of ours nobody is told',
            from: 'core',
            frame: fromCore(4, inbound(4, { destination: '10.77.0.1' })),
            out: { drop: 'unknown-eid' },
            raises: [],
          },
        ],
      },
      {
        name: 'expected: held',
        locals: { [HOST[6]]: { state: 'standby' } },
        steps: [
          { from: 'core', frame: fromCore(4, inbound(6)), out: 'held', tally: 'decapsulated' },
        ],
      },
      {
        name: 'watched: its sender is told',
        locals: { '10.1.0.81': { state: 'local', reportSenders: true } },
        steps: [
          {
            from: 'core',
            frame: fromCore(4, inbound(4, { destination: '10.1.0.81' })),
            out: { site: inbound(4, { destination: '10.1.0.81' }) },
            raises: [{ kind: 'sender-seen', eid: parseEid('[7]10.1.0.81')!, sender }],
          },
        ],
      },
      {
        name: 'away: sent on, and its sender is told',
        locals: { '10.1.0.82': { state: 'away' } },
        mappings: { '10.1.0.82': { action: 'forward', to: [{ family: 4 }] } },
        steps: [
          {
            from: 'core',
            frame: fromCore(4, inbound(4, { destination: '10.1.0.82' })),
            out: {
              core: tunnelled(4, inbound(4, { destination: '10.1.0.82', ttl: 63 }), {
                outer: { ttl: 63 },
              }),
            },
            raises: [{ kind: 'away-eid-hit', eid: parseEid('[7]10.1.0.82')!, sender }],
          },
          {
            what: 'a loop ends',
            from: 'core',
            frame: fromCore(4, inbound(4, { destination: '10.1.0.82' }), { outer: { ttl: 1 } }),
            out: { drop: 'ttl-expired' },
          },
        ],
      },
      {
        name: 'away, and the map-cache does not say where',
        locals: { [HOST[4]]: { state: 'away' } },
        steps: [core(fromCore(4, inbound(4)), { drop: 'away-unmapped' })],
      },
    ],
  },
  { title: 'an away EID is sent on, in place or with another outer family', vectors: away },
]
