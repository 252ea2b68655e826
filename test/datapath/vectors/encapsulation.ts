/**
 * From the site into the tunnel: outer headers (RFC 9300 §5, RFC 9305 §3), what stays with the kernel,
 * what waits and what is dropped.
 */
import { ip, ipFrame, lispHeader, udp } from '../frames.js'
import { data, FAMILIES, fromHost, HOST, inbound, REMOTE, tunnelled } from '../packets.js'
import { MAC } from '../workbench.js'
import type { PacketVector, VectorGroup } from './vector.js'

const towards = (eid: 4 | 6, rloc: 4 | 6) => ({
  [REMOTE[eid]]: { action: 'forward' as const, to: [{ family: rloc }] },
})

const allFamilies: PacketVector[] = FAMILIES.flatMap((eid) =>
  FAMILIES.map((rloc) => {
    const fields = { trafficClass: 0xb9, dontFragment: true }
    const inner = fromHost(eid, { ...fields, ttl: 32 }).slice(14)
    const outer = { ttl: 32, trafficClass: 0xb9 }
    return {
      name: `IPv${eid} in IPv${rloc}`,
      mappings: towards(eid, rloc),
      steps: [
        {
          from: 'site',
          frame: fromHost(eid, { ...fields, ttl: 33 }),
          out: { core: tunnelled(rloc, inner, { outer }) },
          tally: 'encapsulated',
        },
      ],
    }
  }),
)

const gpe: PacketVector[] = FAMILIES.map((eid) => ({
  name: `next protocol of IPv${eid}`,
  mappings: { [REMOTE[eid]]: { action: 'forward', to: [{ family: 4, gpe: true }] } },
  steps: [
    {
      from: 'site',
      frame: fromHost(eid),
      out: {
        core: tunnelled(4, fromHost(eid, { ttl: 63 }).slice(14), {
          lisp: { flags: 0x0c, nonce: [0, 0, eid === 4 ? 1 : 2] },
          outer: { ttl: 63 },
        }),
      },
    },
  ],
}))

const stays: readonly (readonly [string, Uint8Array])[] = [
  ['TTL 1: the kernel sends time exceeded', fromHost(4, { ttl: 1 })],
  ['IPv4 multicast', fromHost(4, { destination: '239.1.1.1' })],
  ['IPv4 link-local', fromHost(4, { destination: '169.254.1.1' })],
  ['IPv6 link-local', fromHost(6, { destination: 'fe80::1' })],
  ['IPv6 multicast', fromHost(6, { destination: 'ff05::1' })],
  ['a native mapping', fromHost(4, { destination: '10.9.1.1' })],
  ['our own static prefix', fromHost(4, { destination: '10.1.0.77' })],
  ['a broken header', ipFrame(MAC.site, MAC.host, Uint8Array.from([0x42, ...data(40)]))],
]

const nest = (packet: Uint8Array) =>
  ip(
    { source: HOST[4], destination: REMOTE[4] },
    udp(5, 4341, new Uint8Array([...lispHeader({}), ...packet])),
  )
const twice = nest(nest(inbound(4)))
const once = nest(inbound(4))
const fits = (size: number) => fromHost(4, { dontFragment: true }, udp(1, 2, data(size - 28 - 36)))

export const ENCAPSULATION: readonly VectorGroup[] = [
  { title: 'outer headers in all four family combinations', vectors: allFamilies },
  { title: 'a GPE locator sets the P bit and the next protocol of RFC 9305', vectors: gpe },
  {
    title: 'what stays with the kernel of an xTR',
    vectors: stays.map(([name, frame]) => ({
      name,
      locals: { '10.1.0.0/24': { state: 'local' } },
      mappings: { ...towards(4, 4), '10.9.0.0/16': { action: 'native' } },
      steps: [{ from: 'site', frame, out: 'pass' }],
    })),
  },
  {
    title: 'what waits for a mapping, and what is refused on the way out',
    vectors: [
      {
        name: 'the longest prefix decides when there is no host entry',
        mappings: {
          '10.66.0.0/16': { action: 'drop' },
          '10.66.1.0/24': { action: 'forward', to: [{ family: 6 }] },
        },
        steps: [
          {
            from: 'site',
            frame: fromHost(4, { destination: '10.66.1.9' }),
            out: {
              core: tunnelled(6, fromHost(4, { destination: '10.66.1.9', ttl: 63 }).slice(14), {
                outer: { ttl: 63 },
              }),
            },
          },
          {
            from: 'site',
            frame: fromHost(4, { destination: '10.66.2.9' }),
            out: { drop: 'mapping-says-drop' },
          },
        ],
      },
      {
        name: 'no mapping, or one that says so: held',
        mappings: { '10.5.0.1': { action: 'hold' } },
        steps: [
          {
            from: 'site',
            frame: fromHost(4, { destination: '10.5.0.1' }),
            out: 'held',
            tally: 'held',
          },
          {
            from: 'site',
            frame: fromHost(6, { destination: 'fd00:5::3' }),
            out: 'held',
            tally: 'held',
          },
        ],
      },
      {
        name: 'nobody holds',
        noHold: true,
        steps: [
          {
            from: 'site',
            frame: fromHost(4, { destination: '10.5.0.3' }),
            out: { drop: 'no-hold' },
          },
        ],
      },
      {
        name: 'a mapping without locators',
        mappings: { [REMOTE[4]]: { action: 'forward', to: [] } },
        steps: [{ from: 'site', frame: fromHost(4), out: { drop: 'no-locator' } }],
      },
      {
        name: 'the largest packet that fits, and one byte more',
        mappings: { [REMOTE[4]]: { action: 'forward', to: [{ family: 4, pathMtu: 1400 }] } },
        steps: [
          {
            from: 'site',
            frame: fits(1400),
            out: {
              core: tunnelled(
                4,
                fromHost(4, { dontFragment: true, ttl: 63 }, udp(1, 2, data(1336))).slice(14),
                { outer: { ttl: 63 } },
              ),
            },
          },
          { from: 'site', frame: fits(1401), out: { drop: 'packet-too-big' } },
        ],
      },
      {
        name: 'a second LISP header, and a third',
        mappings: towards(4, 4),
        steps: [
          {
            from: 'site',
            frame: ipFrame(MAC.site, MAC.host, once),
            out: { core: tunnelled(4, aged(once), { outer: { ttl: 63 } }) },
          },
          { from: 'site', frame: ipFrame(MAC.site, MAC.host, twice), out: { drop: 'nested' } },
        ],
      },
    ],
  },
]

/** The IPv4 packet with TTL 63 instead of 64. */
function aged(packet: Uint8Array): Uint8Array {
  const { source, destination } = { source: HOST[4], destination: REMOTE[4] }
  return ip({ source, destination, ttl: 63 }, packet.slice(20))
}
