/**
 * A dissected packet as one JSON object, for programs: `{"frame":n,"message":"map-register",…}` or
 * `{"frame":n,"error":{"code","offset","field"}}`.
 *
 * Messages are shown field by field under their names in src/lisp, with three exceptions that are
 * shorter: `eid` for the EID-prefix of a record, `mPriority` and `mWeight` of a locator. 64-bit
 * numbers are 16 hexadecimal digits (the 24-bit nonce of a data packet 6), bytes are hexadecimal,
 * addresses canonical text. A field that a message does not have is left out.
 */
import { formatIpAddress, formatMac, type IpAddress } from '../lisp/address.js'
import type { AfiAddress } from '../lisp/afi-address.js'
import type { DataHeader } from '../lisp/data-header.js'
import { nameText } from '../lisp/describe.js'
import { hexText } from '../lisp/described-eid.js'
import { type Eid, type EidPrefix, formatEid, formatEidPrefix } from '../lisp/eid.js'
import type { Malformed, Message } from '../lisp/message.js'
import type {
  ControlMessage,
  Dissection,
  Endpoints,
  FaultPlace,
  InnerPacket,
  ReliableItem,
} from './dissect.js'
import { formatInstant } from './instant.js'
import { PROTOCOL } from './ip-packet.js'

export type PlainJson =
  | string
  | number
  | boolean
  | readonly PlainJson[]
  | { readonly [field: string]: PlainJson | undefined }

export type JsonObject = { readonly [field: string]: PlainJson | undefined }

/** Undefined for what is not LISP. `at` is nanoseconds since 1970. */
export function packetJson(
  frame: number,
  at: bigint | undefined,
  packet: Dissection,
): JsonObject | undefined {
  switch (packet.kind) {
    case 'other':
      return undefined
    case 'fault':
      return { frame, error: errorJson(packet.fault) }
    case 'control': {
      const { message } = packet.control
      // The shape of an error is fixed: who sent it can be looked up by the frame.
      if (message.kind === 'malformed') return { frame, error: errorJson(message) }
      const [kind, fields] = controlJson(packet.control)
      return { frame, message: kind, ...outerJson(at, packet.endpoints), ...fields }
    }
    case 'reliable':
      return {
        frame,
        message: 'reliable-transport',
        ...outerJson(at, packet.endpoints),
        segment: packet.segment,
        messages: packet.items.map(reliableJson),
      }
    case 'data':
      return {
        frame,
        message: 'data',
        ...outerJson(at, packet.endpoints),
        fragment: packet.fragment === undefined ? undefined : { ...packet.fragment },
        header: headerJson(packet.header),
        inner: packet.inner === undefined ? undefined : innerJson(packet.inner),
      }
    case 'multicast': {
      if (packet.message.kind === 'malformed') return { frame, error: errorJson(packet.message) }
      const { message, ...fields } = multicastJson(packet.message)
      return { frame, message, ...outerJson(at, packet.endpoints), ...fields }
    }
    case 'fragment':
      return {
        frame,
        message: 'fragment',
        ...outerJson(at, packet.endpoints),
        fragment: { ...packet.fragment },
        bytes: packet.bytes,
        part: packet.part,
        firstFrame: packet.firstFrame,
      }
  }
}

/** 16 hexadecimal digits. */
function hex64(value: bigint): string {
  return value.toString(16).padStart(16, '0')
}

/** `udp`, or the number of a protocol without a name here. */
export function protocolName(protocol: number): string | number {
  const known = Object.entries(PROTOCOL).find(([, number]) => number === protocol)
  return known?.[0] ?? protocol
}

function outerJson(at: bigint | undefined, endpoints: Endpoints): JsonObject {
  return { time: at === undefined ? undefined : formatInstant(at), ...endpointsJson(endpoints) }
}

function endpointsJson(endpoints: Endpoints): JsonObject {
  return {
    source: formatIpAddress(endpoints.source),
    sourcePort: endpoints.sourcePort,
    destination: formatIpAddress(endpoints.destination),
    destinationPort: endpoints.destinationPort,
  }
}

/** The message's name and its fields, with what a key said and what it carries. */
function controlJson(control: ControlMessage): readonly [string, JsonObject] {
  const { message, authentication, inner } = control
  const fields: Record<string, PlainJson | undefined> = {}
  for (const [name, value] of Object.entries(message as Exclude<Message, Malformed>)) {
    // The bytes that an Encapsulated Control Message carries are shown decoded, below.
    if (name === 'kind' || (message.kind === 'encapsulated-control' && name === 'message')) continue
    fields[name] = plain(value)
  }
  if (authentication !== undefined) fields['authentication'] = authentication
  if (inner !== undefined) fields['inner'] = innerControlJson(inner)
  return [message.kind, fields]
}

function innerControlJson(inner: ControlMessage): JsonObject {
  if (inner.message.kind === 'malformed') return { error: errorJson(inner.message) }
  const [message, fields] = controlJson(inner)
  return { message, ...fields }
}

function reliableJson({ message, register }: ReliableItem): JsonObject {
  if (message.kind === 'malformed') return { error: errorJson(message) }
  const { kind, ...fields } = message
  const shown = Object.entries(fields).filter(
    ([name]) => register === undefined || name !== 'message',
  )
  return {
    message: kind,
    ...plainFields(Object.fromEntries(shown)),
    ...(register === undefined ? {} : { inner: innerControlJson(register) }),
  }
}

function headerJson(header: DataHeader): JsonObject {
  const { nonce, mapVersions } = header
  return {
    ...header,
    nonce: nonce?.toString(16).padStart(6, '0'),
    mapVersions: mapVersions === undefined ? undefined : { ...mapVersions },
  }
}

function innerJson(inner: InnerPacket | FaultPlace): JsonObject {
  if (!('kind' in inner)) return { error: errorJson(inner) }
  return {
    ...endpointsJson(inner),
    protocol: protocolName(inner.protocol),
    hopLimit: inner.hopLimit,
    length: inner.length,
    fragment: inner.fragment === undefined ? undefined : { ...inner.fragment },
    multicast: inner.multicast === undefined ? undefined : multicastJson(inner.multicast),
  }
}

function multicastJson(message: NonNullable<InnerPacket['multicast']>): JsonObject {
  if (message.kind === 'malformed') return { error: errorJson(message) }
  const { kind, ...fields } = message
  return { message: kind, ...plainFields(fields) }
}

function errorJson({ code, offset, field }: FaultPlace): JsonObject {
  return { code, offset, field }
}

/** Any value of src/lisp/message.ts as JSON. */
function plain(value: unknown): PlainJson | undefined {
  if (typeof value === 'bigint') return hex64(value)
  if (value instanceof Uint8Array) return hexText(value)
  if (Array.isArray(value)) return value.map((one) => plain(one) ?? '')
  if (typeof value !== 'object' || value === null) return value as PlainJson | undefined
  if ('bytes' in value && 'family' in value) return formatIpAddress(value as IpAddress)
  if ('kind' in value) return addressJson(value as AfiAddress)
  if ('address' in value && 'instanceId' in value) {
    return 'maskLength' in value ? formatEidPrefix(value as EidPrefix) : formatEid(value as Eid)
  }
  return plainFields(value)
}

/** Plain addresses and names as text, an LCAF with its kind and its fields. */
function addressJson(value: AfiAddress): PlainJson {
  if (value.kind === 'ip') return formatIpAddress(value.address)
  if (value.kind === 'mac') return formatMac(value.mac)
  if (value.kind === 'name') return { name: nameText(value.name) }
  return plainFields(value)
}

function plainFields(value: object): JsonObject {
  const fields = Object.entries(value).map(([name, inner]) => [
    SHORT_NAMES[name] ?? name,
    plain(inner),
  ])
  return Object.fromEntries(fields) as JsonObject
}

const SHORT_NAMES: { readonly [name: string]: string | undefined } = {
  eidPrefix: 'eid',
  multicastPriority: 'mPriority',
  multicastWeight: 'mWeight',
}
