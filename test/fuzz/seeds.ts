/**
 * Originals to be damaged: every vector of the tests, and encodings of messages that fast-check made
 * up (always the same ones: which case of which seed fails must not depend on the day).
 */
import fc from 'fast-check'
import { decodeMessage, encodeMessage } from '../../src/lisp/message.js'
import { anyMessage } from '../lisp/arbitrary-message.js'
import { bytesOf, loadVectors } from '../lisp/plain-value.js'
import {
  ethernet,
  ipPacket,
  ipv6Fragment,
  pcapFile,
  pcapngBlock,
  pcapngFile,
  udpPacket,
} from '../support/captured-packets.js'

interface HexVector {
  readonly hex: string
}

const MADE_UP = 250
const MADE_UP_SEED = 4342

/** Control messages, the broken ones of the vectors among them. */
export function messageSeeds(): Uint8Array[] {
  const vectors = [
    ...loadVectors<HexVector[]>('messages.json'),
    ...loadVectors<HexVector[]>('malformed.json'),
    ...loadVectors<{ messages: HexVector[] }>('authentication.json').messages,
  ].map((vector) => bytesOf(vector.hex))
  const madeUp = fc.sample(anyMessage, { numRuns: MADE_UP, seed: MADE_UP_SEED })
  return [...vectors, ...madeUp.map(encodeMessage)].filter((bytes) => bytes.length <= 1500)
}

export function dataHeaderSeeds(): Uint8Array[] {
  return loadVectors<HexVector[]>('data-headers.json').map((vector) => bytesOf(vector.hex))
}

/** AFI-encoded addresses of every family and LCAF type, known here or not. */
export function addressSeeds(): Uint8Array[] {
  const ipv4 = '0001c0000201'
  const ipv6 = `0002${'20010db8'.padEnd(32, '0')}`
  const mac = '4005020000000001'
  const name = `0011${'676f64776974'}00`
  const lcaf = (type: number, body: string, reserved = '00') =>
    `40030000${hex(type)}${reserved}${hex(body.length / 2, 4)}${body}`
  const wrapped = [ipv4, ipv6, '0000', mac, name].flatMap((inner) => [
    inner,
    lcaf(2, `0000002a${inner}`, '20'),
    lcaf(1, `${inner}${ipv4}`),
  ])
  const nested = [1, 2, 3, 4, 5].map((depth) => {
    let address = ipv4
    for (let level = 0; level < depth; level += 1) address = lcaf(2, `00000007${address}`)
    return address
  })
  const others = Array.from({ length: 18 }, (_, type) => lcaf(type, `00000000${ipv4}${ipv6}`))
  const list = lcaf(1, ipv4.repeat(70))
  const rtr = lcaf(7, `10f610f5${ipv4}${ipv4}${ipv4}`)
  const path = lcaf(10, `0003${ipv4}0003${ipv6}`)
  const multicast = lcaf(9, `000000002a00002018${ipv4}${ipv4}`)
  const vendor = lcaf(255, '0000000c0102')
  const texts = [...wrapped, ...nested, ...others, list, rtr, path, multicast, vendor]
  const vectors = loadVectors<HexVector[]>('addresses.json').map((vector) => vector.hex)
  return [...texts, ...vectors].map(bytesOf)
}

/** Ethernet frames and bare packets, the first byte saying of which link type they are. */
export function frameSeeds(messages: readonly Uint8Array[]): Uint8Array[] {
  const packets = packetSeeds(messages)
  const seeds: Uint8Array[] = []
  for (const [index, packet] of packets.entries()) {
    seeds.push(joined([ETHERNET_INDEX], ethernet(packet)))
    seeds.push(joined([1 + (index % LINK_TYPES.length)], headed(index, packet)))
    if (index % 4 === 0)
      seeds.push(joined([ETHERNET_INDEX], ethernet(packet, [7, 8].slice(index % 2))))
  }
  return seeds
}

/** LINKTYPE_* by the first byte of a frame seed, modulo their number. */
export const LINK_TYPES = [1, 0, 12, 14, 101, 108, 113, 228, 229, 276, 147] as const
const ETHERNET_INDEX = 0

/** Small files of both formats and byte orders. */
export function captureSeeds(messages: readonly Uint8Array[]): Uint8Array[] {
  const frames = packetSeeds(messages).map((packet) => ethernet(packet))
  const seeds: Uint8Array[] = []
  for (let at = 0; at + 3 <= frames.length && seeds.length < 60; at += 3) {
    const some = frames.slice(at, at + 3)
    const little = at % 2 === 0
    seeds.push(pcapFile(some, { little, nano: at % 4 < 2 }), pcapngFile(some, { little }))
    const simple = Buffer.concat([
      pcapngFile([], { little }),
      pcapngBlock(3, simpleBody(little, some[0]!), little),
    ])
    const old = pcapngBlock(2, pcapngFile(some.slice(0, 1), { little }).subarray(-8), little)
    if (at % 4 === 0) seeds.push(simple, Buffer.concat([simple, old]))
  }
  return seeds.map((bytes) => Uint8Array.from(bytes))
}

function packetSeeds(messages: readonly Uint8Array[]): Buffer[] {
  const four = { source: '192.0.2.1', destination: '192.0.2.2' }
  const six = { source: '2001:db8::1', destination: '2001:db8::2' }
  const inner = udpPacket({
    ...four,
    sourcePort: 1000,
    destinationPort: 53,
    payload: new Uint8Array(9),
  })
  const inner6 = udpPacket({
    ...six,
    sourcePort: 1000,
    destinationPort: 53,
    payload: new Uint8Array(9),
  })
  const headers = dataHeaderSeeds()
  const data = headers.flatMap((header, index) =>
    [inner, inner6].map((packet) =>
      udpPacket({
        ...(index % 2 === 0 ? four : six),
        destinationPort: 4341,
        payload: Buffer.concat([header, packet]),
      }),
    ),
  )
  const control = messages
    .filter((_, index) => index % 3 === 0)
    .map((payload, index) => udpPacket({ ...(index % 2 === 0 ? four : six), payload }))
  const udp = udpPacket({ ...four, payload: messages[0]! }).subarray(20)
  const odd = [
    ipPacket(four, 17, udp, 0x2000),
    ipPacket(four, 17, udp, 0x2004),
    ipPacket(four, 6, udp),
    ipv6Fragment(six, 1, udp),
    ipv6Fragment(six, 0x0101, udp),
    ipPacket(six, 0, Buffer.concat([Buffer.from([17, 0, 1, 4, 0, 0, 0, 0]), udp])),
    ipPacket(six, 51, Buffer.concat([Buffer.from([17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]), udp])),
  ]
  return [...data, ...control, ...odd]
}

/** A header of that kind of link in front of the packet. */
function headed(index: number, packet: Uint8Array): Uint8Array {
  const linkType = LINK_TYPES[(1 + (index % LINK_TYPES.length)) % LINK_TYPES.length]
  const isIpv4 = packet[0]! >> 4 === 4
  const type = isIpv4 ? [0x08, 0x00] : [0x86, 0xdd]
  if (linkType === 0 || linkType === 108) return joined([0, 0, 0, isIpv4 ? 2 : 10], packet)
  if (linkType === 113) return joined([...Array<number>(14).fill(0), ...type], packet)
  if (linkType === 276) return joined([...type, ...Array<number>(18).fill(0)], packet)
  return packet
}

function simpleBody(little: boolean, frame: Uint8Array): Buffer {
  const body = Buffer.alloc(4 + Math.ceil(frame.length / 4) * 4)
  if (little) body.writeUInt32LE(frame.length)
  else body.writeUInt32BE(frame.length)
  body.set(frame, 4)
  return body
}

function joined(head: readonly number[], rest: Uint8Array): Uint8Array {
  const whole = new Uint8Array(head.length + rest.length)
  whole.set(head)
  whole.set(rest, head.length)
  return whole
}

function hex(value: number, digits = 2): string {
  return value.toString(16).padStart(digits, '0')
}

/** Whether a seed is a message as it stands. */
export function isMessage(bytes: Uint8Array): boolean {
  return decodeMessage(bytes).kind !== 'malformed'
}
