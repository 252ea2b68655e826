/**
 * What `godwit decode` says of everything the codec knows: addresses of every LCAF type, LISP-SEC,
 * referrals, NAT messages, registrations over TCP, multicast within data packets; and whether
 * tshark reads the same out of the same bytes.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { LINK_TYPE } from '../../src/capture/captured-frame.js'
import { createDissector, type DissectorOptions } from '../../src/capture/dissect.js'
import { type JsonObject, packetJson } from '../../src/capture/packet-json.js'
import { packetText } from '../../src/capture/packet-text.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import { encodeReliableMessage } from '../../src/lisp/reliable-transport.js'
import { bytesOf, loadVectors } from '../lisp/plain-value.js'
import { aKey, aMapping, aMapRegister, hmac } from '../support/builders.js'
import { ethernet, ipPacket, pcapFile, udpPacket } from '../support/captured-packets.js'
import { temporaryDirectory } from '../support/fake-node.js'

const V4 = { source: '192.0.2.1', destination: '224.0.0.22' }
const V6 = { source: 'fe80::1', destination: 'ff02::16' }
const ENDS = { source: '172.16.1.1', destination: '172.16.4.1' }

interface Vector {
  readonly name: string
  readonly hex: string
  readonly canonical?: boolean
}
interface MulticastVector extends Vector {
  readonly protocol: 'igmp' | 'mld' | 'pim'
  readonly family: 4 | 6
  readonly value: JsonObject
}

const messages = loadVectors<Vector[]>('messages.json')
const addresses = loadVectors<(Vector & { rloc?: string })[]>('addresses.json')
const multicast = loadVectors<{ messages: MulticastVector[] }>('multicast.json').messages
const reliable = loadVectors<{ messages: Vector[] }>('reliable.json').messages

function shown(options: DissectorOptions = {}) {
  const dissector = createDissector(options)
  let number = 0
  return (packet: Uint8Array): { json: JsonObject; text: string } => {
    number += 1
    const bytes = Uint8Array.from(packet)
    const frame = { kind: 'frame' as const, number, at: 0n, linkType: LINK_TYPE.raw, bytes }
    const dissection = dissector.dissect({ ...frame, wireLength: bytes.length })
    const json = packetJson(number, 0n, dissection)
    return {
      json: json === undefined ? {} : JSON.parse(JSON.stringify(json)),
      text: packetText(number, 0n, dissection) ?? '',
    }
  }
}

function control(payload: Uint8Array): Buffer {
  return udpPacket({ ...ENDS, payload })
}

function named<T extends Vector>(vectors: readonly T[], name: string): T {
  return vectors.find((vector) => vector.name === name)!
}

/** A Map-Reply for 10.1.0.0/16 whose only locator is this encoded address. */
function replyAt(hex: string): Uint8Array {
  const record = '000005a00110100000000001' + '0a010000' + '0164ff000001'
  return bytesOf(`200000010102030405060708${record}${hex}`)
}

t.test('every message vector is one line of text and one JSON object of its kind', async (t) => {
  const show = shown()
  for (const { name, hex } of messages) {
    const { json, text } = show(control(bytesOf(hex)))
    t.match(json['message'], /^[a-z-]+$/, name)
    t.ok(text.length > 20 && text.length < 4_000 && !text.includes('\n'), name)
    t.notMatch(JSON.stringify(json), /"bytes"|\[object/, `${name}: no bare arrays of bytes`)
  }
})

t.test('structured EIDs and locators are shown with their kind and fields', async (t) => {
  const show = shown()
  const group = named(messages, 'map-reply for an (S,G) with a replication list')
  const { json, text } = show(control(bytesOf(group.hex)))
  t.match(json, {
    message: 'map-reply',
    records: [],
    structuredRecords: [
      {
        eid: { kind: 'multicast-info', instanceId: 7, source: '10.1.1.5', group: '232.1.1.1' },
        locators: [
          {
            rloc: '192.0.2.1',
            structure: {
              kind: 'replication-list',
              entries: [{ level: 128, address: '192.0.2.1' }, { address: '192.0.2.2' }],
            },
          },
        ],
      },
    ],
  })
  t.match(text, '[7](10.1.1.5/32, 232.1.1.1/32)')
  const path = named(addresses, 'explicit locator path')
  t.match(show(control(replyAt(path.hex))).json, {
    records: [
      {
        eid: '10.1.0.0/16',
        locators: [{ structure: { hops: [{ strict: true }, { lookup: true, probe: true }, {}] } }],
      },
    ],
  })
})

t.test('LISP-SEC data, referrals and NAT messages are shown field by field', async (t) => {
  const show = shown()
  const of = (name: string) => show(control(bytesOf(named(messages, name).hex))).json
  t.match(of('ECM of a Map-Server with a wrapped one-time key'), {
    security: true,
    securityData: {
      requestedHmacId: 1,
      oneTimeKey: { keyId: 5, wrappingId: 2, preamble: '66565dc93b103047' },
      eidAuthentication: {
        kdfId: 2,
        proof: { etrCantSign: false, hmacId: 1, eidPrefixes: ['10.1.1.0/24', '2001:db8:1::/48'] },
      },
    },
    inner: { message: 'map-request' },
  })
  t.match(of('map-reply with LISP-SEC data behind the records'), {
    security: { packetHmacId: 2, packetHmac: /^b0b1/ },
  })
  t.match(of('map-referral with two signatures and the key of a child'), {
    message: 'map-referral',
    records: [
      {
        eid: '10.1.0.0/16',
        action: 'node-referral',
        signatures: [{ keyTag: 4711, algorithm: 2, signature: '5a5a5a5a' }, { keyTag: 9 }],
      },
    ],
  })
  t.match(of('info-reply with two RTRs'), {
    message: 'info-reply',
    eid: '10.1.1.5',
    nat: { globalEtrRloc: '203.0.113.9', rtrRlocs: ['198.51.100.1', '2001:db8::ff'] },
  })
})

function segment(sequence: number, data: Uint8Array, flags = 0x18): Buffer {
  const tcp = Buffer.alloc(20 + data.length)
  tcp.writeUInt16BE(40_000, 0)
  tcp.writeUInt16BE(4342, 2)
  tcp.writeUInt32BE(sequence >>> 0, 4)
  tcp[12] = 0x50
  tcp[13] = flags
  tcp.set(data, 20)
  return ipPacket(ENDS, 6, tcp)
}

t.test('registrations over TCP are read across segments and verified', async (t) => {
  const key = aKey('site secret')
  const records = [aMapping({ eidPrefix: '10.1.0.5/32', locators: ['172.16.1.1'] })]
  const message = encodeSigned(aMapRegister({ records }), key, hmac)
  const bytes = encodeReliableMessage({ kind: 'registration', messageId: 9, message })
  const ack = bytesOf(named(reliable, 'registration ack').hex)
  const show = shown({ keys: [key], hmac })
  const start = 0xfffffff0
  t.same(show(segment(start - 1, new Uint8Array(0), 0x02)).json, {}, 'a SYN says nothing')
  t.match(show(segment(start, bytes.subarray(0, 30))).json, { messages: [], segment: 'next' })
  t.match(show(segment(start, bytes.subarray(0, 30))).json, { messages: [], segment: 'repeated' })
  const rest = Buffer.concat([bytes.subarray(20), ack])
  const { json, text } = show(segment(start + 20, rest))
  t.match(json, {
    message: 'reliable-transport',
    destinationPort: 4342,
    segment: 'next',
    messages: [
      {
        message: 'registration',
        messageId: 9,
        inner: {
          message: 'map-register',
          authentication: 'verified',
          records: [{ eid: '10.1.0.5/32' }],
        },
      },
      { message: 'registration-ack', messageId: 1, eid: '10.1.1.5/32' },
    ],
  })
  t.match(
    text,
    /registration 9 ⊃ map-register .* \(authentication verified\), registration-ack 1\]/,
  )
  const after = start + 20 + rest.length
  t.match(show(segment(after + 100, ack)).json, {
    segment: 'after-a-gap',
    messages: [{ message: 'registration-ack' }],
  })
  const bad = Uint8Array.from(ack)
  bad[bad.length - 1]! ^= 1
  const broken = show(segment(after + 100 + ack.length, bad)).json
  t.match(broken, { messages: [{ error: { code: 'bad-end-marker' } }] })
})

t.test('TCP of other ports, cut off or without data, is not ours', async (t) => {
  const show = shown()
  const other = segment(1, Uint8Array.of(1))
  other.writeUInt16BE(443, 22)
  for (const packet of [other, segment(1, new Uint8Array(0)), ipPacket(ENDS, 6, Buffer.alloc(8))]) {
    t.same(show(packet).json, {})
  }
  const wrongLength = segment(1, Uint8Array.of(1))
  wrongLength[32] = 0xf0
  t.same(show(wrongLength).json, {})
})

t.test('multicast within data packets is shown, other ICMPv6 is not', async (t) => {
  const show = shown()
  const within = ({ protocol, family }: MulticastVector, payload: Uint8Array) => {
    const number = { igmp: 2, mld: 58, pim: 103 }[protocol]
    const inner = ipPacket(family === 4 ? V4 : V6, number, payload)
    const data = Buffer.concat([Buffer.from('0800000000000700', 'hex'), inner])
    return show(udpPacket({ ...ENDS, destinationPort: 4341, payload: data })).json
  }
  for (const vector of multicast) {
    const json = within(vector, bytesOf(vector.hex))
    t.match(
      json,
      { message: 'data', inner: { multicast: { message: vector.value['kind'] } } },
      vector.name,
    )
  }
  const join = named(multicast, 'PIM join with the LISP attributes at every level')
  t.match(within(join, bytesOf(join.hex)), {
    inner: {
      protocol: 'pim',
      multicast: {
        upstreamNeighbor: { attributes: [{ kind: 'transport', transport: 'unicast' }] },
        groups: [{ group: { address: '232.1.1.1' }, joined: [{ address: '10.1.1.5' }] }],
      },
    },
  })
  const damaged = bytesOf(join.hex)
  damaged[9]! ^= 1
  t.match(within(join, damaged), { inner: { multicast: { error: { code: 'bad-checksum' } } } })
  const echo = { ...join, protocol: 'mld' as const, family: 6 as const }
  t.equal(
    (within(echo, bytesOf('800056780001')) as { inner: JsonObject }).inner['multicast'],
    undefined,
  )
})

t.test('IGMP, MLD and PIM by themselves are shown, with groups by name', async (t) => {
  const show = shown()
  const alone = (name: string) => {
    const { hex, protocol, family } = named(multicast, name)
    const number = { igmp: 2, mld: 58, pim: 103 }[protocol]
    return show(ipPacket(family === 4 ? V4 : V6, number, bytesOf(hex)))
  }
  for (const { name, value } of multicast)
    t.match(alone(name).json, { message: value['kind'] }, name)
  for (const [name, words] of [
    ['IGMPv1 general query', 'igmpv1 query general'],
    ['IGMPv2 leave', 'igmp leave (*,'],
    ['IGMPv3 query for sources', 'igmpv3 query (10.'],
    ['MLDv1 report', 'mldv1 report (*,ff'],
    ['PIM join of (*,G)', 'join (*,'],
    ['PIM join of (S,G) and prune of another', 'prune ('],
    ['PIM assert', 'pim-assert (10.'],
    ['PIM graft is carried', 'pim type 6'],
  ] as const)
    t.ok(alone(name).text.includes(words), `${name}: ${alone(name).text}`)
  t.match(alone('IGMPv3 report with three records').text, /igmp report .*mode-is|change-to/)
  const broken = show(ipPacket(V4, 2, Buffer.from('16000000e1010101', 'hex')))
  t.match(broken.json, { error: { code: 'bad-checksum' } })
  t.same(show(ipPacket(V6, 58, Buffer.from('800056780001', 'hex'))).json, {}, 'an echo is not ours')
})

/** Fields of each frame as tshark prints them, every occurrence. */
function tshark(packets: readonly Buffer[], fields: readonly string[]): string[][][] {
  const file = join(temporaryDirectory(), 'everything.pcap')
  writeFileSync(file, pcapFile(packets.map((packet) => ethernet(packet))))
  const wanted = fields.flatMap((field) => ['-e', field])
  const run = spawnSync('tshark', ['-r', file, '-T', 'fields', ...wanted], { encoding: 'utf8' })
  const lines = run.stdout.split('\n').slice(0, packets.length)
  return lines.map((line) => line.split('\t').map((all) => (all === '' ? [] : all.split(','))))
}

function tsharkMissing(): string | false {
  return spawnSync('tshark', ['--version']).status === 0 ? false : 'tshark is not installed'
}

// tshark 4.0 does not know these types and steps over them.
const UNKNOWN_TO_TSHARK = ['geo-', 'JSON', 'opaque', 'security key', 'application', 'encapsulation']

t.test('tshark reads the same LCAF types and addresses', { skip: tsharkMissing() }, async (t) => {
  const vectors = addresses.filter(
    ({ name, hex }) =>
      hex.startsWith('4003') && !UNKNOWN_TO_TSHARK.some((one) => name.includes(one)),
  )
  const packets = vectors.map(({ hex }) => control(replyAt(hex)))
  const fields = [
    ...['lisp.lcaf.type', 'lisp.lcaf.iid', 'lisp.lcaf.asn', 'lisp.lcaf.nonce_loc'],
    ...['lisp.lcaf.rle_entry.level', 'lisp.lcaf.natt.etrport', 'lisp.lcaf.srcdst.src.masklen'],
    ...['lisp.lcaf.mcinfo_iid', 'lisp.lcaf.mcinfo.grp.masklen', '_ws.malformed'],
  ]
  const theirs = tshark(packets, fields)
  const show = shown()
  t.ok(vectors.length > 15, `${vectors.length} vectors`)
  for (const [index, vector] of vectors.entries()) {
    const [record] = show(packets[index]!).json['records'] as JsonObject[]
    const all = [...list(record?.['locators']), ...list(record?.['otherLocators'])]
    const ours = (all[0] as { structure?: Record<string, unknown> } | undefined)?.structure ?? {}
    const [type, iid, asn, nonce, level, port, source, group, groupMask, malformed] = theirs[index]!
    t.equal(Number(type![0]), Number.parseInt(vector.hex.slice(8, 10), 16), vector.name)
    t.same(malformed, [], vector.name)
    const compare = (name: string, said: string[] | undefined) => {
      if (said === undefined || said.length === 0 || ours[name] === undefined) return
      t.equal(Number(said[0]), Number(ours[name]), `${vector.name}: ${name}`)
    }
    compare('asNumber', asn)
    compare('nonce', nonce)
    compare('etrPort', port)
    compare('sourceMaskLength', ours['kind'] === 'source-dest-key' ? source : undefined)
    compare('groupMaskLength', groupMask)
    compare('instanceId', ours['kind'] === 'instance' ? iid : group)
    const entries = list(ours['entries']) as { level: number }[]
    if (entries.length > 0)
      t.same(
        level!.map(Number),
        entries.map((one) => one.level),
        vector.name,
      )
  }
})

t.test('tshark reads the same referrals and NAT messages', { skip: tsharkMissing() }, async (t) => {
  const vectors = messages.filter(({ name }) => /^(map-referral|info-re)/.test(name))
  const packets = vectors.map(({ hex }) => control(bytesOf(hex)))
  const fields = [
    ...['lisp.type', 'lisp.nonce', 'lisp.referral.incomplete', 'lisp.referral.sigcnt'],
    ...['lisp.mapping.auth', 'lisp.mapping.ver', 'lisp.info.r', 'lisp.info.ttl'],
  ]
  const theirs = tshark(packets, fields)
  const show = shown()
  for (const [index, { name }] of vectors.entries()) {
    const { json } = show(packets[index]!)
    const [type, nonce, incomplete, signatures, auth, version, reply, ttl] = theirs[index]!
    t.equal(BigInt(`0x${String(json['nonce'])}`), BigInt(nonce![0]!), name)
    const yes = (value: string | undefined) => value === '1' || value === 'True'
    if (json['message'] === 'map-referral') {
      t.equal(type![0], '6', name)
      const all = [...list(json['records']), ...list(json['structuredRecords'])]
      const record = all[0] as JsonObject
      t.equal(yes(incomplete![0]), record['incomplete'], name)
      t.equal(yes(auth![0]), record['authoritative'], name)
      t.equal(Number(version![0]), record['mapVersion'], name)
      t.equal(Number(signatures![0]), list(record['signatures']).length, name)
    } else {
      t.equal(type![0], '7', name)
      t.equal(yes(reply![0]), json['message'] === 'info-reply', name)
      t.equal(Number(ttl![0]), json['ttlMinutes'], name)
    }
  }
})

t.test('tshark reads the same TCP messages', { skip: tsharkMissing() }, async (t) => {
  const vectors = reliable.filter(({ name }) => name !== 'eight bytes')
  let sequence = 1
  const packets = vectors.map(({ hex }) => {
    const packet = segment(sequence, bytesOf(hex))
    sequence += hex.length / 2
    return packet
  })
  const fields = ['lisp-tcp.message.type', 'lisp-tcp.message.id', 'lisp-tcp.message.length']
  for (const [index, [type, id, length]] of tshark(packets, fields).entries()) {
    const { name, hex } = vectors[index]!
    t.equal(Number(type![0]), Number.parseInt(hex.slice(0, 4), 16), name)
    t.equal(Number(id![0]), Number.parseInt(hex.slice(8, 16), 16), name)
    t.equal(Number(length![0]), hex.length / 2, name)
  }
})

t.test(
  'tshark finds multicast checksums and addresses right',
  { skip: tsharkMissing() },
  async (t) => {
    const packets = multicast.map(({ hex, protocol, family }) => {
      const number = { igmp: 2, mld: 58, pim: 103 }[protocol]
      return ipPacket(family === 4 ? V4 : V6, number, bytesOf(hex))
    })
    const fields = [
      ...['igmp.checksum.status', 'icmpv6.checksum.status', 'pim.cksum.status'],
      ...['igmp.maddr', 'pim.join_ip', 'pim.prune_ip'],
    ]
    const theirs = tshark(packets, fields)
    for (const [index, vector] of multicast.entries()) {
      const said = new Map(fields.map((field, at) => [field, theirs[index]![at]!]))
      const statuses = fields
        .filter((field) => field.endsWith('status'))
        .flatMap((f) => said.get(f)!)
      t.ok(
        statuses.every((status) => status === '1' || status === 'Good'),
        vector.name,
      )
      const value = JSON.stringify(vector.value)
      for (const field of ['igmp.maddr', 'pim.join_ip', 'pim.prune_ip']) {
        for (const address of said.get(field) ?? []) {
          t.ok(
            value.includes(`"${address}"`) || address === '224.0.0.22',
            `${vector.name}: ${field}`,
          )
        }
      }
    }
  },
)

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
