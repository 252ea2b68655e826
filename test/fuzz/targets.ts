/**
 * The decoders under test: control messages, AFI-encoded addresses, the data header, captured frames
 * and capture files. Each says how it is called, what counts as decoded and how it is encoded again.
 */
import { createCaptureReader } from '../../src/capture/capture-reader.js'
import type { CaptureItem } from '../../src/capture/captured-frame.js'
import { createDissector, type Dissection } from '../../src/capture/dissect.js'
import { packetJson } from '../../src/capture/packet-json.js'
import { packetText } from '../../src/capture/packet-text.js'
import { pcapFileHeader, pcapRecord } from '../../src/capture/pcap-format.js'
import { readAfiAddress, writeAfiAddress } from '../../src/lisp/afi.js'
import { type AfiAddress, eidOf, rlocOf } from '../../src/lisp/afi-address.js'
import { type AlgorithmId, verifyMessage } from '../../src/lisp/authentication.js'
import { byteReader, MALFORMED_CODES, MalformedSignal } from '../../src/lisp/byte-reader.js'
import { byteWriter, writtenBytes } from '../../src/lisp/byte-writer.js'
import { type DataHeader, decodeDataHeader, encodeDataHeader } from '../../src/lisp/data-header.js'
import { describeMessage } from '../../src/lisp/describe.js'
import {
  coversDescribedEid,
  describedEidOf,
  formatDescribedEid,
} from '../../src/lisp/described-eid.js'
import {
  decodeMessage,
  encodeMessage,
  type Malformed,
  type Message,
} from '../../src/lisp/message.js'
import { nodeHmac } from '../lisp/plain-value.js'
import { addressHintSeeds, addressHintTarget } from './address-hint-target.js'
import type { Target } from './campaign.js'
import { membershipSeeds, membershipTarget } from './membership-target.js'
import {
  multicastSeeds,
  multicastTarget,
  reliableSeeds,
  reliableTarget,
  streamSeeds,
  streamTarget,
} from './multicast-targets.js'
import { seedOf } from './mutations.js'
import { pimSeeds, pimTarget } from './pim-target.js'
import { repairEncapsulated } from './repair-checksums.js'
import {
  addressSeeds,
  captureSeeds,
  dataHeaderSeeds,
  frameSeeds,
  LINK_TYPES,
  messageSeeds,
} from './seeds.js'

/** Every target, seeds and all; takes a good second. */
export function createTargets(): Target[] {
  const messages = messageSeeds()
  return [
    withSeeds(messageTarget, messages),
    withSeeds(addressTarget, addressSeeds()),
    withSeeds(dataHeaderTarget, dataHeaderSeeds()),
    withSeeds(frameTarget, frameSeeds(messages)),
    withSeeds(captureTarget, captureSeeds(messages)),
    withSeeds(multicastTarget, multicastSeeds()),
    withSeeds(membershipTarget, membershipSeeds()),
    withSeeds(pimTarget, pimSeeds()),
    withSeeds(reliableTarget, reliableSeeds()),
    withSeeds(streamTarget, streamSeeds()),
    withSeeds(addressHintTarget, addressHintSeeds()),
  ] as Target[]
}

function withSeeds<Value>(
  target: Omit<Target<Value>, 'seeds'>,
  seeds: readonly Uint8Array[],
): Target<Value> {
  const decodes = (bytes: Uint8Array) => target.isDecoded(target.decode(bytes, 0))
  return { ...target, seeds: seeds.map((bytes) => seedOf(bytes, decodes)) }
}

const messageTarget: Omit<Target<Message | Malformed>, 'seeds'> = {
  name: 'message',
  weight: 10,
  decode: decodeMessage,
  isDecoded: (value) => value.kind !== 'malformed',
  encode(value) {
    if (value.kind === 'malformed') return undefined
    return { bytes: encodeMessage(value), value }
  },
  repair: repairEncapsulated,
  use(value, bytes) {
    const line = describeMessage(value)
    if (line === '' || /[\n\r]/.test(line)) throw new Error(`described as ${line}`)
    if (value.kind === 'malformed') {
      const known = MALFORMED_CODES.some((code) => code === value.code)
      if (!known || value.offset < 0 || value.offset > bytes.length) throw new Error(line)
    } else if ('authenticationData' in value) {
      const { keyId, algorithm } = value
      const key = { keyId, algorithm: algorithm as AlgorithmId, secret: SECRET }
      if (verifyMessage(bytes, key, nodeHmac)) throw new Error('a key that nobody has verifies')
    }
  },
}
const SECRET = Uint8Array.of(0x66, 0x75, 0x7a, 0x7a)

const addressTarget: Omit<Target<AfiAddress | Malformed>, 'seeds'> = {
  name: 'address',
  weight: 5,
  decode(bytes) {
    try {
      return readAfiAddress(byteReader(bytes), 'Address')
    } catch (error) {
      if (error instanceof MalformedSignal) return error.malformed
      throw error
    }
  },
  isDecoded: (value) => value.kind !== 'malformed',
  encode(value) {
    if (value.kind === 'malformed') return undefined
    const writer = byteWriter()
    writeAfiAddress(writer, value)
    return { bytes: writtenBytes(writer), value }
  },
  use(value) {
    if (value.kind === 'malformed') return
    rlocOf(value)
    eidOf(value)
    const described = describedEidOf(value)
    if (described === undefined) return
    const text = formatDescribedEid(described)
    if (!coversDescribedEid(described, described)) throw new Error(`${text} does not cover itself`)
  },
}

const dataHeaderTarget: Omit<Target<DataHeader | undefined>, 'seeds'> = {
  name: 'data-header',
  weight: 4,
  decode: decodeDataHeader,
  isDecoded: (value) => value !== undefined,
  encode: (value) => value && { bytes: encodeDataHeader(value), value },
}

const frameTarget: Omit<Target<Dissection>, 'seeds'> = {
  name: 'frame',
  weight: 3,
  decode(bytes) {
    const linkType = LINK_TYPES[(bytes[0] ?? 0) % LINK_TYPES.length]!
    const frame = bytes.subarray(1)
    return createDissector().dissect({
      kind: 'frame',
      number: 1,
      at: 0n,
      linkType,
      bytes: frame,
      wireLength: frame.length,
    })
  },
  isDecoded: (value) => value.kind !== 'fault' && value.kind !== 'other',
  use(value, bytes) {
    packetText(1, 0n, value)
    JSON.stringify(packetJson(1, 0n, value))
    const linkType = LINK_TYPES[(bytes[0] ?? 0) % LINK_TYPES.length]!
    const frame = { kind: 'frame', number: 1, at: 0n, linkType, wireLength: 0 } as const
    const judging = createDissector({ keys: KEYS, hmac: nodeHmac })
    const judged = judging.dissect({ ...frame, bytes: bytes.subarray(1) })
    packetText(1, 0n, judged)
    const verified = judged.kind === 'control' && judged.control.authentication === 'verified'
    if (verified) throw new Error('a key that nobody has verifies')
  },
}
const KEYS = ([1, 2, 3] as const).flatMap((algorithm) =>
  [0, 1].map((keyId) => ({ keyId, algorithm, secret: SECRET })),
)

const captureTarget: Omit<Target<readonly CaptureItem[]>, 'seeds'> = {
  name: 'capture',
  weight: 1,
  decode(bytes, turn) {
    const reader = createCaptureReader()
    // In one piece and in several: where a file is cut must not matter.
    const step = turn === 0 ? bytes.length : 1 + (bytes.length >> 2)
    const items: CaptureItem[] = []
    for (let at = 0; at < bytes.length; at += step) {
      items.push(...reader.push(bytes.subarray(at, at + step)))
    }
    items.push(...reader.end())
    return items
  },
  isDecoded: (value) => value.some((item) => item.kind === 'frame'),
  encode(value) {
    const frames = value.filter((item) => item.kind === 'frame')
    const linkType = frames[0]!.linkType
    const limit = 0x100000000n * 1_000_000_000n
    const fits = frames.every(
      ({ at = 0n, ...frame }) => at >= 0n && at < limit && frame.linkType === linkType,
    )
    if (!fits || linkType < 0) return undefined
    const records = frames.map(({ at = 0n, bytes, wireLength }) =>
      pcapRecord(at, bytes, wireLength),
    )
    const expected = frames.map((frame, index) => ({
      ...frame,
      at: frame.at ?? 0n,
      number: index + 1,
    }))
    return { bytes: Buffer.concat([pcapFileHeader(linkType), ...records]), value: expected }
  },
  use(value) {
    const dissector = createDissector()
    for (const item of value) {
      if (item.kind === 'frame') packetText(item.number, item.at, dissector.dissect(item))
    }
  },
}
