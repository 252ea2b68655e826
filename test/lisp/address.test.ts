/**
 * Addresses, EIDs, prefixes and locator-sets as text and in order; map-versions and data headers.
 */
import { isIP } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import {
  compareIpAddresses,
  equalIpAddresses,
  formatIpAddress,
  formatMac,
  type IpAddress,
  ipAddress,
  isLinkLocal,
  isMulticast,
  isUnspecified,
  parseIpAddress,
  parseMac,
} from '../../src/lisp/address.js'
import { type DataHeader, decodeDataHeader, encodeDataHeader } from '../../src/lisp/data-header.js'
import {
  coversEid,
  coversPrefix,
  type Eid,
  type EidPrefix,
  eidFromPrefix,
  equalEidPrefixes,
  equalEids,
  formatEid,
  formatEidPrefix,
  hostPrefix,
  isHostPrefix,
  maskedAddress,
  parseEid,
  parseEidPrefix,
} from '../../src/lisp/eid.js'
import {
  equalLocatorSets,
  formatLocator,
  isUsableRloc,
  locator,
  sortLocators,
} from '../../src/lisp/locator.js'
import { isNewerMapVersion, nextMapVersion } from '../../src/lisp/map-version.js'
import { anyIpAddress } from './arbitrary-address.js'
import { anyEid, anyEidPrefix } from './arbitrary-message.js'
import { bytesOf, hexOf, loadVectors, plainValue } from './plain-value.js'

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

function prefix(text: string): EidPrefix {
  const parsed = parseEidPrefix(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

function eid(text: string): Eid {
  const parsed = parseEid(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

t.test('addresses print in the canonical form of RFC 5952', async (t) => {
  const forms: [string, string][] = [
    ['10.1.0.5', '10.1.0.5'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ]
  for (const [text, canonical] of forms) t.equal(formatIpAddress(address(text)), canonical, text)
})

t.test('what is no address is not read as one', async (t) => {
  const bad = [
    ...['', '.', '1.2.3', '1.2.3.4.5', '1.2.3.', '.1.2.3', '1..2.3', '256.1.1.1', '1.2.3.4 '],
    ...['01.2.3.4', '1.2.3.00', '1.2.3.-4', '0x1.2.3.4', '1.2.3.4/8', 'a.b.c.d'],
    ...[':', ':::', '1:::2', '::1::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::'],
    ...['12345::', 'g::', '::1%eth0', '[::1]', ':1', '1:', '::1.2.3', '1.2.3.4::', '::1.2.3.4:5'],
    ...['1:2:3:4:5:6:7:1.2.3.4', '1::2:3:4:5:6:7:8', `${'0'.repeat(60)}::1`],
  ]
  for (const text of bad) t.equal(parseIpAddress(text), undefined, JSON.stringify(text))
})

t.test(
  'any address reads back from its text, and any short text is judged as node:net does',
  async (t) => {
    fc.assert(
      fc.property(anyIpAddress, (value) => {
        const text = formatIpAddress(value)
        t.ok(equalIpAddresses(address(text), value), text)
        t.equal(isIP(text), value.family, text)
      }),
      { numRuns: 500, seed: 3 },
    )
    const pieces = fc.constantFrom('0', '1', 'ff', '255', '256', ':', '::', '.', 'abcd', '01', '10')
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 15 }), (parts) => {
        const text = parts.join('')
        t.equal(parseIpAddress(text)?.family ?? 0, isIP(text), text)
      }),
      { numRuns: 3_000, seed: 4 },
    )
  },
)

t.test('addresses order IPv4 before IPv6, then as numbers', async (t) => {
  const texts = [
    '0.0.0.0',
    '9.255.0.0',
    '10.0.0.0',
    '192.0.2.1',
    '::',
    '::1',
    '2001:db8::',
    'ff02::1',
  ]
  const shuffled = [3, 6, 0, 7, 2, 5, 1, 4].map((index) => address(texts[index]!))
  t.same(shuffled.toSorted(compareIpAddresses).map(formatIpAddress), texts)
  t.throws(() => ipAddress(new Uint8Array(5)), RangeError)
})

t.test('special addresses are known', async (t) => {
  const where = (test: (value: IpAddress) => boolean) =>
    SPECIAL.filter((text) => test(address(text)))
  t.same(where(isMulticast), ['224.0.0.1', '239.255.255.255', 'ff02::1'])
  t.same(where(isLinkLocal), ['169.254.1.1', 'fe80::1', 'febf::1'])
  t.same(where(isUnspecified), ['0.0.0.0', '::'])
  const unusable = SPECIAL.filter((text) => !isUsableRloc(address(text)))
  t.same(unusable, [
    ...['224.0.0.1', '239.255.255.255', '255.255.255.255', '0.0.0.0'],
    ...['ff02::1', '::'],
  ])
})

const SPECIAL = [
  ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255', '0.0.0.0', '0.0.0.1'],
  ...['127.0.0.1', '127.255.0.1', '169.254.1.1', '169.253.1.1', '192.0.2.1'],
  ...['ff02::1', 'fe80::1', 'febf::1', 'fec0::1', '::', '::1', '::2', '2001:db8::1', '1::1'],
]

t.test('MAC addresses read back from their text', async (t) => {
  const mac = bytesOf('525400aa00ff')
  t.equal(formatMac(mac), '52:54:00:aa:00:ff')
  t.same(parseMac('52:54:00:AA:00:ff'), mac)
  t.same(parseMac('52-54-00-aa-00-ff'), mac)
  for (const bad of [
    '',
    '52:54:00:aa:00',
    '52:54:00:aa:00:ff:01',
    '52-54:00:aa:00:ff',
    'gg:54:00:aa:00:ff',
  ]) {
    t.equal(parseMac(bad), undefined, bad)
  }
})

t.test('EIDs and EID-prefixes read back from their canonical text', async (t) => {
  t.equal(formatEid(eid('[0]10.1.0.5')), '10.1.0.5')
  t.equal(formatEid(eid('[7]2001:DB8::5')), '[7]2001:db8::5')
  t.equal(formatEidPrefix(prefix('[4294967295]10.1.0.0/16')), '[4294967295]10.1.0.0/16')
  t.equal(formatEidPrefix(hostPrefix(eid('[7]::1'))), '[7]::1/128')
  t.equal(formatEidPrefix(prefix('0.0.0.0/0')), '0.0.0.0/0')
  for (const bad of [
    ...['10.1.0.0', '10.1.0.0/', '10.1.0.0/33', '::/129', '10.1.0.5/16', '2001:db8::1/64'],
    ...['[4294967296]10.0.0.0/8', '[-1]10.0.0.0/8', '[]10.0.0.0/8', '[7]', '[7/8', '7]10.0.0.0/8'],
    ...['10.1.0.0/016', '10.1.0.0/1e1', '10.1.0.0/ 16', '10.1.0.0/16/16', ' 10.1.0.0/16'],
  ]) {
    t.equal(parseEidPrefix(bad), undefined, bad)
  }
  t.equal(parseEid('[7]10.1.0.0/16'), undefined)
  fc.assert(
    fc.property(anyEidPrefix, anyEid, (block, one) => {
      t.ok(equalEidPrefixes(prefix(formatEidPrefix(block)), block))
      t.ok(equalEids(eid(formatEid(one)), one))
    }),
    { numRuns: 300, seed: 5 },
  )
})

t.test(
  'a prefix covers what agrees with its leading bits, in its instance and family only',
  async (t) => {
    const block = prefix('[7]10.1.64.0/18')
    t.equal(coversEid(block, eid('[7]10.1.64.0')), true)
    t.equal(coversEid(block, eid('[7]10.1.127.255')), true)
    t.equal(coversEid(block, eid('[7]10.1.128.0')), false)
    t.equal(coversEid(block, eid('[7]10.1.63.255')), false)
    t.equal(coversEid(block, eid('[8]10.1.64.0')), false)
    t.equal(coversEid(prefix('0.0.0.0/0'), eid('255.1.1.1')), true)
    t.equal(coversEid(prefix('0.0.0.0/0'), eid('::1')), false)
    t.equal(coversPrefix(block, block), true)
    t.equal(coversPrefix(block, prefix('[7]10.1.96.0/19')), true)
    t.equal(coversPrefix(block, prefix('[7]10.1.0.0/17')), false)
    t.equal(coversPrefix(block, prefix('[7]10.0.0.0/8')), false)
    t.equal(isHostPrefix(block), false)
    t.equal(isHostPrefix(prefix('::1/128')), true)
    t.equal(isHostPrefix(prefix('::/32')), false)
    t.same(eidFromPrefix(prefix('[7]10.1.0.5/32')), eid('[7]10.1.0.5'))
  },
)

t.test('covering agrees with masking for any prefix and EID', async (t) => {
  fc.assert(
    fc.property(anyEidPrefix, anyEid, fc.boolean(), (block, other, near) => {
      const one = near ? nearEid(block, other) : other
      const same =
        block.instanceId === one.instanceId && block.address.family === one.address.family
      const expected =
        same && equalIpAddresses(maskedAddress(one.address, block.maskLength), block.address)
      t.equal(coversEid(block, one), expected)
      t.equal(coversPrefix(block, hostPrefix(one)), expected)
    }),
    { numRuns: 500, seed: 6 },
  )
  t.throws(() => maskedAddress(address('10.0.0.0'), 33), RangeError)
  t.throws(() => maskedAddress(address('10.0.0.0'), -1), RangeError)
})

/** The prefix with the bits beyond its mask taken from elsewhere: inside it, mostly. */
function nearEid(block: EidPrefix, other: Eid): Eid {
  const bytes = block.address.bytes.slice()
  const from = Math.max(0, (block.maskLength >> 3) - 1)
  bytes.set(other.address.bytes.subarray(0, Math.max(0, bytes.length - from - 1)), from + 1)
  return { instanceId: block.instanceId, address: ipAddress(bytes) }
}

t.test('locator-sets sort by address and compare by what a sender does with them', async (t) => {
  const four = locator(address('192.0.2.1'), { weight: 50 })
  const six = locator(address('2001:db8::1'), { priority: 2, reachable: false })
  t.same(sortLocators([six, four]).map(formatLocator), [
    '192.0.2.1 1/50',
    '2001:db8::1 2/100 unreachable',
  ])
  const sorted = [four, six]
  t.equal(sortLocators(sorted), sorted, 'a sorted set is not copied')
  t.equal(equalLocatorSets([four, six], [six, four]), true)
  t.equal(equalLocatorSets([four], [{ ...four, local: true, probe: true }]), true)
  t.equal(equalLocatorSets([four], [{ ...four, weight: 51 }]), false)
  t.equal(equalLocatorSets([four], [{ ...four, priority: 3 }]), false)
  t.equal(equalLocatorSets([four], [{ ...four, reachable: false }]), false)
  t.equal(equalLocatorSets([four], [four, six]), false)
  t.equal(equalLocatorSets([four], [six]), false)
  t.equal(equalLocatorSets([], []), true)
})

t.test('map-versions are compared by serial arithmetic and skip the null version', async (t) => {
  const vectors = loadVectors<{ v1: number; v2: number; newer: string }[]>('map-versions.json')
  for (const { v1, v2, newer } of vectors) {
    t.equal(isNewerMapVersion(v1, v2), newer === 'v1', `${v1} after ${v2}`)
    t.equal(isNewerMapVersion(v2, v1), newer === 'v2', `${v2} after ${v1}`)
  }
  t.same([0, 1, 4094, 4095].map(nextMapVersion), [1, 2, 4095, 1])
  for (let version = 1; version < 4096; version += 1) {
    if (isNewerMapVersion(nextMapVersion(version), version)) continue
    t.fail(`the version after ${version} is not newer`)
  }
})

t.test('data headers read and write as RFC 9300 lays them out', async (t) => {
  const vectors =
    loadVectors<{ name: string; hex: string; value: unknown; canonical: boolean }[]>(
      'data-headers.json',
    )
  for (const { name, hex, value, canonical } of vectors) {
    const header = decodeDataHeader(bytesOf(hex))!
    t.same(plainValue(header), value, name)
    if (canonical) t.equal(hexOf(encodeDataHeader(header)), hex, name)
  }
  t.equal(decodeDataHeader(new Uint8Array(7)), undefined)
  const plain = decodeDataHeader(new Uint8Array(8))!
  const refused: Partial<DataHeader>[] = [
    { nonce: 1, mapVersions: { source: 1, destination: 1 } },
    { nonce: 1, nextProtocol: 1 },
    { echoNonceRequest: true },
    { nonce: 2 ** 24 },
    { instanceId: 2 ** 24 },
    { instanceId: 1, locatorStatusBits: 256 },
  ]
  for (const given of refused) {
    t.throws(() => encodeDataHeader({ ...plain, ...given }), RangeError, JSON.stringify(given))
  }
})
