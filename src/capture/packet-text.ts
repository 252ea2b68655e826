/**
 * A dissected packet as one line of text, for people: frame number, time of day, who to whom, what.
 *
 *     12  03:04:05.678901  172.16.1.1 → 172.16.4.1  map-register nonce 0x… key 1 algorithm 3 […]
 *
 * Never throws and is bounded in length whatever a peer sent, like the descriptions it is made of.
 */
import { formatIpAddress } from '../lisp/address.js'
import type { DataHeader } from '../lisp/data-header.js'
import { describeMessage } from '../lisp/describe.js'
import { LISP_CONTROL_PORT } from '../lisp/iana.js'
import type {
  ControlMessage,
  Dissection,
  Endpoints,
  FaultPlace,
  InnerPacket,
  ReliableItem,
} from './dissect.js'
import { formatInstant } from './instant.js'
import type { Fragment } from './ip-packet.js'
import { describeMulticast } from './multicast-text.js'
import { protocolName } from './packet-json.js'

/** Undefined for what is not LISP. `at` is nanoseconds since 1970. */
export function packetText(
  frame: number,
  at: bigint | undefined,
  packet: Dissection,
): string | undefined {
  const said = packetWords(packet)
  if (said === undefined) return undefined
  const time = (at === undefined ? undefined : formatInstant(at))?.slice(11, -1) ?? '-'
  return `${String(frame).padStart(6)}  ${time.padEnd(15)}  ${said}`
}

function packetWords(packet: Dissection): string | undefined {
  switch (packet.kind) {
    case 'other':
      return undefined
    case 'fault':
      return faultText(packet.fault)
    case 'control':
      return `${controlEndpoints(packet.endpoints)}  ${controlText(packet.control)}`
    case 'reliable': {
      const items = packet.items.map(reliableText).join(', ')
      const note = packet.segment === 'next' ? '' : ` (${packet.segment})`
      return `${controlEndpoints(packet.endpoints)}  reliable-transport${note} [${items}]`
    }
    case 'data':
      return [
        `${addresses(packet.endpoints)}  data`,
        headerText(packet.header),
        packet.inner === undefined ? 'inner packet not shown' : innerText(packet.inner),
        packet.fragment === undefined ? '' : fragmentText(packet.fragment),
      ]
        .filter((part) => part !== '')
        .join(' ')
    case 'multicast':
      return `${addresses(packet.endpoints)}  ${multicastText(packet.message)}`
    case 'fragment': {
      const of = packet.part === undefined ? 'of an unknown UDP packet' : `of ${packet.part}`
      const first = packet.firstFrame === undefined ? '' : `, begun in frame ${packet.firstFrame}`
      const where = fragmentText(packet.fragment)
      return `${addresses(packet.endpoints)}  ${where} ${of}, ${packet.bytes} bytes${first}`
    }
  }
}

function controlText({ message, authentication, inner }: ControlMessage): string {
  const verdict = authentication === undefined ? '' : ` (${VERDICTS[authentication]})`
  const carried = inner === undefined ? '' : ` ⊃ ${controlText(inner)}`
  return `${describeMessage(message)}${verdict}${carried}`
}

function reliableText({ message, register }: ReliableItem): string {
  if (message.kind === 'malformed') return describeMessage(message)
  const id = message.messageId === undefined ? '' : ` ${message.messageId}`
  const carried = register === undefined ? '' : ` ⊃ ${controlText(register)}`
  return `${message.kind}${id}${carried}`
}

const VERDICTS = {
  verified: 'authentication verified',
  failed: 'AUTHENTICATION FAILED',
  'no-key': 'no key for its authentication',
} as const

function headerText(header: DataHeader): string {
  const { nonce, mapVersions, instanceId, locatorStatusBits, nextProtocol, cryptoKeyId } = header
  return [
    instanceId === undefined ? '' : `[${instanceId}]`,
    nonce === undefined ? '' : `nonce 0x${nonce.toString(16).padStart(6, '0')}`,
    header.echoNonceRequest ? 'echo-nonce' : '',
    mapVersions === undefined ? '' : `versions ${mapVersions.source}/${mapVersions.destination}`,
    locatorStatusBits === undefined ? '' : `status-bits 0x${locatorStatusBits.toString(16)}`,
    nextProtocol === undefined ? '' : `next-protocol ${nextProtocol}`,
    cryptoKeyId === 0 ? '' : `encrypted with key ${cryptoKeyId}`,
  ]
    .filter((part) => part !== '')
    .join(' ')
}

function innerText(inner: InnerPacket | FaultPlace): string {
  if (!('kind' in inner)) return faultText(inner)
  const { source, destination, sourcePort, destinationPort, fragment } = inner
  const from = withPort(formatIpAddress(source), sourcePort)
  const to = withPort(formatIpAddress(destination), destinationPort)
  const protocol = protocolName(inner.protocol)
  const name = typeof protocol === 'string' ? protocol : `protocol ${protocol}`
  const part = fragment === undefined ? '' : ` ${fragmentText(fragment)}`
  const said = inner.multicast === undefined ? '' : ` ⊃ ${multicastText(inner.multicast)}`
  return `${from} → ${to} ${name} ${inner.length} bytes${part}${said}`
}

function multicastText(message: NonNullable<InnerPacket['multicast']>): string {
  return message.kind === 'malformed' ? faultText(message) : describeMulticast(message)
}

/** Ports are said only where they tell something: both sides of most control traffic are 4342. */
function controlEndpoints({ source, sourcePort, destination, destinationPort }: Endpoints): string {
  const port = (value: number | undefined): number | undefined =>
    value === LISP_CONTROL_PORT ? undefined : value
  const from = withPort(formatIpAddress(source), port(sourcePort))
  return `${from} → ${withPort(formatIpAddress(destination), port(destinationPort))}`
}

function addresses({ source, destination }: Endpoints): string {
  return `${formatIpAddress(source)} → ${formatIpAddress(destination)}`
}

function withPort(address: string, port: number | undefined): string {
  if (port === undefined) return address
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function fragmentText({ identification, offset, more }: Fragment): string {
  return `fragment ${identification} at ${offset}${more ? '' : ' (last)'}`
}

function faultText({ code, offset, field }: FaultPlace): string {
  return `malformed: ${code} at byte ${offset} (${field})`
}
