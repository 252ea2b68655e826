/**
 * Capture files as they come from tcpdump, Wireshark and people who mean harm: every format, every
 * link layer, and what each LISP packet in them is said to be.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { createCaptureReader } from '../../src/capture/capture-reader.js'
import {
  type CapturedFrame,
  type CaptureItem,
  LINK_TYPE,
  MAX_FRAME_BYTES,
} from '../../src/capture/captured-frame.js'
import { createDissector, type DissectorOptions } from '../../src/capture/dissect.js'
import { formatInstant } from '../../src/capture/instant.js'
import { packetJson } from '../../src/capture/packet-json.js'
import { packetText } from '../../src/capture/packet-text.js'
import { pcapFileHeader, pcapRecord } from '../../src/capture/pcap-format.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { encodeDataHeader } from '../../src/lisp/data-header.js'
import { encodeMessage } from '../../src/lisp/message.js'
import { aKey, aMapping, aMapRegister, aMapRequest, anAddress, hmac } from '../support/builders.js'
import {
  ethernet,
  etherType,
  ipPacket,
  ipv6Fragment,
  pcapFile,
  pcapngBlock,
  pcapngFile,
  u16s,
  udpPacket,
} from '../support/captured-packets.js'
import { temporaryDirectory } from '../support/fake-node.js'

const V4 = { source: '172.16.1.1', destination: '172.16.4.1' }
const V6 = { source: 'fd00:c:1::1', destination: 'fd00:c:4::1' }

const register = encodeSigned(
  aMapRegister({
    nonce: 0x1122334455667788n,
    records: [aMapping({ eidPrefix: '[7]10.1.0.5/32', locators: ['172.16.1.1', 'fd00:c:1::1'] })],
  }),
  aKey('site secret'),
  hmac,
)
const request = encodeMessage(aMapRequest({ nonce: 0xabcn }))
const ecm = encodeMessage({
  kind: 'encapsulated-control',
  security: false,
  ddtOriginated: false,
  innerSource: anAddress('172.16.3.1'),
  innerDestination: anAddress('10.1.0.5'),
  innerSourcePort: 4342,
  innerDestinationPort: 4342,
  message: request,
})
const registerPacket = udpPacket({ ...V4, payload: register })

t.test(
  'all formats, byte orders and clocks give the same frames, in chunks of any size',
  async (t) => {
    const frames = [ethernet(registerPacket), ethernet(udpPacket({ ...V6, payload: ecm }))]
    const files: [string, Buffer, string][] = [
      ['pcap, microseconds, big-endian', pcapFile(frames), '678901Z'],
      ['pcap, microseconds, little-endian', pcapFile(frames, { little: true }), '678901Z'],
      ['pcap, nanoseconds, big-endian', pcapFile(frames, { nano: true }), '678901234Z'],
      [
        'pcap, nanoseconds, little-endian',
        pcapFile(frames, { nano: true, little: true }),
        '678901234Z',
      ],
      ['pcapng, big-endian', pcapngFile(frames), '678901234Z'],
      ['pcapng, little-endian', pcapngFile(frames, { little: true }), '678901234Z'],
    ]
    for (const [name, file, fraction] of files) {
      for (const size of [1, 7, 64, file.length]) {
        const items = readAll(file, size)
        t.same(
          items.map((item) => [item.kind, item.number]),
          [
            ['frame', 1],
            ['frame', 2],
          ],
          `${name} by ${size}`,
        )
        const [first] = items as CapturedFrame[]
        t.equal(formatInstant(first!.at!), `2025-01-02T03:04:05.${fraction}`, name)
        t.same(
          items.map((item) => (item as CapturedFrame).bytes),
          frames.map((frame) => Uint8Array.from(frame)),
        )
      }
    }
  },
)

t.test('what our writer writes our reader reads', async (t) => {
  const at = 1_735_787_045_678_901_234n
  const file = Buffer.concat([pcapFileHeader(LINK_TYPE.raw), pcapRecord(at, registerPacket)])
  const [frame] = readAll(file, 5) as CapturedFrame[]
  t.match(frame, { number: 1, at, linkType: LINK_TYPE.raw, wireLength: registerPacket.length })
  t.throws(() => pcapRecord(at, new Uint8Array(MAX_FRAME_BYTES + 1)), RangeError)
})

t.test('the same message is found under every link layer', async (t) => {
  const cooked = (length: number, typeAt: number, packet: Buffer): Buffer => {
    const header = Buffer.alloc(length)
    header.writeUInt16BE(etherType(packet), typeAt)
    return Buffer.concat([header, packet])
  }
  for (const packet of [registerPacket, udpPacket({ ...V6, payload: register })]) {
    const family = packet[0]! >> 4 === 4 ? 2 : 10
    const frames: [number, Buffer][] = [
      [LINK_TYPE.ethernet, ethernet(packet)],
      [LINK_TYPE.ethernet, ethernet(packet, [7])],
      [LINK_TYPE.ethernet, ethernet(packet, [7, 8])],
      [LINK_TYPE.linuxCooked, cooked(16, 14, packet)],
      [LINK_TYPE.linuxCooked2, cooked(20, 0, packet)],
      [LINK_TYPE.raw, packet],
      [family === 2 ? LINK_TYPE.ipv4 : LINK_TYPE.ipv6, packet],
      [LINK_TYPE.loopback, Buffer.concat([Buffer.from([family, 0, 0, 0]), packet])],
      [LINK_TYPE.loop, Buffer.concat([Buffer.from([0, 0, 0, family]), packet])],
    ]
    for (const [linkType, bytes] of frames) {
      const found = jsonOf(bytes, { linkType })
      t.equal(found?.['message'], 'map-register', `link type ${linkType}`)
      t.equal(found?.['source'], family === 2 ? V4.source : V6.source)
    }
  }
  t.equal(jsonOf(registerPacket, { linkType: 147 }), undefined, 'another link layer is not guessed')
  const arp = ethernet(registerPacket)
  arp.writeUInt16BE(0x0806, 12)
  t.equal(jsonOf(arp), undefined, 'ARP is no fault')
  t.equal(
    jsonOf(ethernet(udpPacket({ ...V4, sourcePort: 53, destinationPort: 53, payload: register }))),
    undefined,
  )
})

t.test('a message is one object: name, who, all fields, records in full', async (t) => {
  t.same(jsonOf(ethernet(registerPacket), { options: { keys: [aKey('site secret')], hmac } }), {
    frame: 1,
    message: 'map-register',
    time: '2025-01-02T03:04:05.678901Z',
    source: '172.16.1.1',
    sourcePort: 4342,
    destination: '172.16.4.1',
    destinationPort: 4342,
    proxyReply: true,
    securityCapable: false,
    eidNotify: false,
    useTtlForTimeout: false,
    mergeRequest: false,
    wantMapNotify: true,
    nonce: '1122334455667788',
    keyId: 1,
    algorithm: 3,
    authenticationData: Buffer.from(register.subarray(16, 32)).toString('hex'),
    records: [
      {
        eid: '[7]10.1.0.5/32',
        ttlMinutes: 15,
        action: 'no-action',
        authoritative: true,
        mapVersion: 0,
        locators: [
          {
            rloc: '172.16.1.1',
            priority: 1,
            weight: 100,
            mPriority: 255,
            mWeight: 0,
            local: false,
            probe: false,
            reachable: true,
          },
          {
            rloc: 'fd00:c:1::1',
            priority: 1,
            weight: 100,
            mPriority: 255,
            mWeight: 0,
            local: false,
            probe: false,
            reachable: true,
          },
        ],
      },
    ],
    identity: { xtrId: 'aa'.repeat(16), siteId: '0000000000000001' },
    authentication: 'verified',
  })
  const carried = jsonOf(ethernet(udpPacket({ ...V6, sourcePort: 50_000, payload: ecm })))
  t.match(carried, {
    message: 'encapsulated-control',
    sourcePort: 50_000,
    innerDestination: '10.1.0.5',
    inner: { message: 'map-request', nonce: '0000000000000abc', records: [{ subscribe: false }] },
  })
  t.match(String((carried?.['inner'] as { records: { eid: string }[] }).records[0]?.eid), /\/\d+$/)
})

t.test('a bad message is an error with code, offset and field, and nothing else', async (t) => {
  const cut = udpPacket({ ...V4, payload: register.subarray(0, 30) })
  t.same(jsonOf(ethernet(cut)), {
    frame: 1,
    error: { code: 'truncated', offset: 16, field: 'Authentication Data' },
  })
  const strange = udpPacket({ ...V4, payload: Buffer.from([0x90, 0, 0, 0]) })
  t.match(jsonOf(ethernet(strange)), { error: { code: 'unknown-type', offset: 0 } })
  const inEcm = ecm.slice()
  inEcm[4 + 28] = 0x90
  const inner = jsonOf(ethernet(udpPacket({ ...V4, payload: inEcm })))
  t.match(inner, { error: { code: 'bad-checksum' } }, 'the inner checksum is looked at first')
  const short = ethernet(registerPacket).subarray(0, 30)
  t.match(jsonOf(short), { error: { code: 'truncated', field: 'IPv4 header', offset: 30 } })
  const badHeader = Buffer.from(registerPacket)
  badHeader[0] = 0x43
  t.match(jsonOf(ethernet(badHeader)), { error: { code: 'bad-ip-header', offset: 14 } })
  const badUdp = Buffer.from(registerPacket)
  badUdp.writeUInt16BE(3, 24)
  t.match(jsonOf(ethernet(badUdp)), { error: { code: 'bad-length', field: 'UDP Length' } })
})

t.test('authentication is verified, failed, or without a key', async (t) => {
  const verdict = (keys: DissectorOptions['keys'], payload: Uint8Array = register): unknown => {
    const options = keys === undefined ? {} : { keys, hmac }
    return jsonOf(ethernet(udpPacket({ ...V4, payload })), { options })?.['authentication']
  }
  t.equal(verdict(undefined), undefined)
  t.equal(verdict([aKey('site secret')]), 'verified')
  t.equal(verdict([aKey('another'), aKey('site secret')]), 'verified', 'sites may share key IDs')
  t.equal(verdict([aKey('another')]), 'failed')
  t.equal(verdict([]), 'no-key')
  t.equal(verdict([aKey('site secret', { keyId: 2 })]), 'no-key')
  const changed = register.slice()
  changed[register.length - 30] = changed[register.length - 30]! ^ 1
  t.equal(verdict([aKey('site secret')], changed), 'failed')
  t.equal(verdict([aKey('site secret')], request), undefined, 'a Map-Request has none')
})

t.test('data packets show their header and the packet inside', async (t) => {
  const header = encodeDataHeader({
    nonce: 0x00beef,
    echoNonceRequest: true,
    mapVersions: undefined,
    instanceId: 7,
    locatorStatusBits: 3,
    nextProtocol: undefined,
    cryptoKeyId: 0,
  })
  const host = { source: 'fd00:20::2', destination: 'fd00:10::5' }
  const inside = udpPacket({
    ...host,
    sourcePort: 4000,
    destinationPort: 5000,
    payload: Buffer.alloc(9),
  })
  const payload = Buffer.concat([header, inside])
  const packet = udpPacket({ ...V4, sourcePort: 61_000, destinationPort: 4341, payload })
  const found = jsonOf(ethernet(packet))
  t.match(found, {
    message: 'data',
    sourcePort: 61_000,
    header: { nonce: '00beef', echoNonceRequest: true, instanceId: 7, locatorStatusBits: 3 },
    inner: { ...host, sourcePort: 4000, destinationPort: 5000, protocol: 'udp', length: 57 },
  })
  const line = textOf(ethernet(packet))
  t.match(
    line,
    'data [7] nonce 0x00beef echo-nonce status-bits 0x3 [fd00:20::2]:4000 → [fd00:10::5]',
  )
  const short = udpPacket({ ...V4, destinationPort: 4341, payload: Buffer.alloc(5) })
  t.match(jsonOf(ethernet(short)), { error: { code: 'truncated', field: 'LISP header' } })
  const noPacket = udpPacket({ ...V4, destinationPort: 4341, payload: Buffer.alloc(20) })
  t.match(jsonOf(ethernet(noPacket)), { inner: { error: { code: 'bad-ip-version', offset: 8 } } })
  const secret = Buffer.from(payload)
  secret[0] = secret[0]! | 3
  const hidden = jsonOf(ethernet(udpPacket({ ...V4, destinationPort: 4341, payload: secret })))
  t.equal(hidden?.['inner'], undefined, 'ciphertext is not read as a packet')
})

t.test('fragments are noted and belong to the frame that began them', async (t) => {
  const udp = Buffer.concat([u16s([4342, 4342, 2000, 0]), Buffer.alloc(1472)])
  const other = Buffer.concat([u16s([53, 53, 2000, 0]), Buffer.alloc(1472)])
  const tail = Buffer.alloc(512)
  const elsewhere = { source: '192.0.2.9', destination: V4.destination }
  const dns = { source: '192.0.2.53', destination: V4.destination }
  const frames = [
    ipPacket(V4, 17, udp, 0x2000),
    ipPacket(V4, 17, tail, 1480 / 8),
    ipPacket(elsewhere, 17, tail, 1480 / 8),
    ipPacket(dns, 17, other, 0x2000),
    ipPacket(dns, 17, tail, 1480 / 8),
    ipv6Fragment(V6, 1, udp),
    ipv6Fragment(V6, 1480, tail),
  ]
  const shown = decodeAll(pcapFile(frames, { linkType: LINK_TYPE.raw }))
  t.same(
    shown.map((one) => [one['frame'], one['message'], one['part'], one['firstFrame']]),
    [
      [1, 'fragment', 'control', 1],
      [2, 'fragment', 'control', 1],
      [3, 'fragment', undefined, undefined],
      [6, 'fragment', 'control', 6],
      [7, 'fragment', 'control', 6],
    ],
  )
  t.same(shown[1]?.['fragment'], { identification: 0x1234, offset: 1480, more: false })
  t.match(
    textOf(frames[1]!, LINK_TYPE.raw),
    'fragment 4660 at 1480 (last) of an unknown UDP packet',
  )
})

t.test(
  'a file that is cut off or lies about lengths says so and loses nothing before it',
  async (t) => {
    const file = pcapFile([ethernet(registerPacket), ethernet(registerPacket)])
    const cut = readAll(file.subarray(0, file.length - 10), 100)
    t.match(cut[1], { kind: 'fault', number: 2, code: 'truncated' })
    const liar = Buffer.from(file)
    liar.writeUInt32BE(0xffffffff, 24 + 8)
    t.match(readAll(liar, 50), [{ kind: 'fault', number: 1, code: 'frame-too-long', offset: 32 }])

    const long = Buffer.alloc(16 + 300_000)
    long.writeUInt32BE(300_000, 8)
    const around = Buffer.concat([file.subarray(0, 24), long, file.subarray(24)])
    t.same(
      readAll(around, 4096).map((item) => `${item.number} ${item.kind}`),
      ['1 fault', '2 frame', '3 frame'],
      'one frame too long is stepped over',
    )
    t.match(readAll(Buffer.from('hello world, no capture'), 4), [{ code: 'not-a-capture' }])
    t.match(readAll(Buffer.alloc(0), 4), [{ code: 'not-a-capture', field: 'empty file' }])
    t.match(readAll(Buffer.from([0xa1, 0xb2]), 4), [{ code: 'not-a-capture' }])
    const version = Buffer.from(file)
    version.writeUInt16BE(3, 4)
    t.match(readAll(version, 64), [{ code: 'unsupported-version' }])
  },
)

t.test('pcapng: unknown blocks are stepped over, bad ones are counted as frames', async (t) => {
  const frame = ethernet(registerPacket)
  const file = pcapngFile([frame])
  const huge = pcapngBlock(0x0bad, Buffer.alloc(2_000_000))
  const simple = Buffer.concat([Buffer.alloc(4), frame, Buffer.alloc((4 - (frame.length % 4)) % 4)])
  simple.writeUInt32BE(frame.length, 0)
  const noInterface = Buffer.alloc(20)
  noInterface.writeUInt32BE(9, 0)
  const tooLong = Buffer.alloc(20)
  tooLong.writeUInt32BE(500, 12)
  const blocks = [file, huge, pcapngBlock(6, noInterface), pcapngBlock(6, tooLong)]
  const items = readAll(Buffer.concat([...blocks, pcapngBlock(3, simple), file]), 5000)
  t.same(
    items.map((item) => (item.kind === 'frame' ? item.number : `${item.number} ${item.code}`)),
    [1, '2 unknown-interface', '3 bad-length', 4, 5],
  )
  t.equal((items[3] as CapturedFrame).at, undefined, 'a Simple Packet Block has no time')
  const endless = Buffer.from(file)
  // Behind section (28 bytes), interface (32) and name block (20): the length of the first frame.
  endless.writeUInt32BE(4, 84)
  t.match(readAll(endless, 64), [{ kind: 'fault', code: 'bad-length', offset: 84 }])
})

t.test(
  'no bytes make reading, dissecting or showing throw, and memory stays bounded',
  async (t) => {
    const seeds = [
      pcapFile([ethernet(registerPacket), ethernet(udpPacket({ ...V6, payload: ecm }))]),
      pcapngFile([ethernet(registerPacket), ethernet(udpPacket({ ...V6, payload: ecm }))], {
        little: true,
      }),
    ]
    const mutation = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    let decoded = 0
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(mutation, { maxLength: 6 }),
        fc.integer({ min: 1, max: 400 }),
        (seed, mutations, size) => {
          const file = Buffer.from(seed)
          for (const [at, value] of mutations) file[at % file.length] = value
          const items = readAll(file, size)
          // A record has 12 bytes at least.
          if (items.length > file.length / 12 + 1) throw new Error('more items than can be')
          decoded += showAll(items).filter((one) => one['message'] !== undefined).length
        },
      ),
      { numRuns: 3000, seed: 20_250_102 },
    )
    t.ok(decoded > 3000, `${decoded} packets of mutated files still decoded`)
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(...Object.values(LINK_TYPE)),
        (bytes, linkType) => {
          const file = Buffer.concat([pcapFileHeader(linkType), pcapRecord(0n, bytes)])
          showAll(readAll(file, 64))
        },
      ),
      { numRuns: 3000, seed: 7 },
    )
  },
)

t.test('tshark reads the same fields', { skip: tsharkMissing() }, async (t) => {
  const file = join(temporaryDirectory(), 'messages.pcap')
  const frames = [
    registerPacket,
    udpPacket({ ...V6, payload: ecm }),
    udpPacket({ ...V4, payload: request }),
  ]
  writeFileSync(file, pcapFile(frames.map((frame) => ethernet(frame))))
  const fields = [
    'frame.number',
    'lisp.type',
    'lisp.nonce',
    'lisp.mapping.ttl',
    'lisp.mapping.loccnt',
  ]
  const run = spawnSync(
    'tshark',
    ['-r', file, '-T', 'fields', '-E', 'occurrence=f', ...fields.flatMap((field) => ['-e', field])],
    {
      encoding: 'utf8',
    },
  )
  const theirs = run.stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'))
  const ours = decodeAll(pcapFile(frames.map((frame) => ethernet(frame))))
  t.equal(theirs.length, ours.length)
  const types = [
    '',
    'map-request',
    'map-reply',
    'map-register',
    'map-notify',
    '',
    '',
    '',
    'encapsulated-control',
  ]
  for (const [index, mine] of ours.entries()) {
    const [number, type, nonce, ttl, locators] = theirs[index]!
    t.equal(String(mine['frame']), number)
    t.equal(mine['message'], types[Number(type)])
    const message = (mine['inner'] ?? mine) as Record<string, never>
    t.equal(BigInt(`0x${String(message['nonce'])}`), BigInt(nonce!), `nonce of frame ${number}`)
    const [record] = message['records'] as unknown as {
      ttlMinutes?: number
      locators?: unknown[]
    }[]
    if (record?.ttlMinutes !== undefined) {
      t.same([String(record.ttlMinutes), String(record.locators?.length)], [ttl, locators])
    }
  }
})

function readAll(file: Uint8Array, size: number): CaptureItem[] {
  const reader = createCaptureReader()
  const items: CaptureItem[] = []
  for (let at = 0; at < file.length; at += size)
    items.push(...reader.push(file.subarray(at, at + size)))
  return [...items, ...reader.end()]
}

function showAll(items: readonly CaptureItem[]): Record<string, unknown>[] {
  const dissector = createDissector({ keys: [aKey('site secret')], hmac })
  return items.flatMap((item) => {
    if (item.kind === 'fault') return []
    const packet = dissector.dissect(item)
    const line = packetText(item.number, item.at, packet)
    const shown = packetJson(item.number, item.at, packet)
    if ((line === undefined) !== (shown === undefined)) throw new Error('shown in one form only')
    if (line?.includes('\n') || (line?.length ?? 0) > 2000) throw new Error(`unbounded: ${line}`)
    return shown === undefined ? [] : [JSON.parse(JSON.stringify(shown)) as Record<string, unknown>]
  })
}

function decodeAll(file: Uint8Array): Record<string, unknown>[] {
  return showAll(readAll(file, 1000))
}

/** The JSON of a single frame, undefined fields left out as on a terminal. */
function jsonOf(
  bytes: Uint8Array,
  about: { linkType?: number; options?: DissectorOptions } = {},
): Record<string, unknown> | undefined {
  const packet = createDissector(about.options).dissect(aFrame(bytes, about.linkType))
  const shown = packetJson(1, AT, packet)
  return shown === undefined ? undefined : JSON.parse(JSON.stringify(shown))
}

function textOf(bytes: Uint8Array, linkType?: number): string {
  return packetText(1, AT, createDissector().dissect(aFrame(bytes, linkType))) ?? ''
}

function aFrame(bytes: Uint8Array, linkType: number = LINK_TYPE.ethernet): CapturedFrame {
  // A Buffer's slice() is a view; the reader gives plain arrays.
  const plain = Uint8Array.from(bytes)
  return { kind: 'frame', number: 1, at: AT, linkType, bytes: plain, wireLength: bytes.length }
}

function tsharkMissing(): string | false {
  return spawnSync('tshark', ['--version']).status === 0 ? false : 'tshark is not installed'
}

const AT = 1_735_787_045_678_901_000n
