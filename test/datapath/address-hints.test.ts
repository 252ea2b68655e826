/**
 * What is read of DHCP and duplicate address detection: messages built by hand from the RFCs, and
 * everything cut short. What real hosts send is in test/e2e/hypervisors.test.ts.
 */
import t from 'tap'
import { parseHintFrame } from '../../src/datapath/address-hint-frames.js'
import {
  dhcpv4Addresses,
  dhcpv6Addresses,
  MAXIMUM_HINTED,
} from '../../src/datapath/dhcp-addresses.js'
import { formatIpAddress, formatMac } from '../../src/lisp/address.js'
import {
  CLIENT_MAC,
  dhcpv4,
  dhcpv4Frame,
  dhcpv6,
  dhcpv6Frame,
  solicitationFrame,
} from '../support/hint-frames.js'

const MAC = formatMac(CLIENT_MAC)
const ETHERNET_BYTES = 14

/** 'dhcpv4 10.1.0.5 by 02:…', or why it was not read. */
function read(frame: Uint8Array): string {
  const hint = parseHintFrame(frame)
  if (typeof hint === 'string') return hint
  const by = hint.mac === undefined ? 'nobody' : formatMac(hint.mac)
  return `${hint.how} ${hint.addresses.map(formatIpAddress)} by ${by}`
}

function spoiled(bytes: Uint8Array, at: number, byte: number): Uint8Array {
  const copy = bytes.slice()
  copy[at] = byte
  return copy
}

const REQUEST = { op: 1, type: 3, requested: '10.1.0.5' } as const

t.test('DHCPv4 names what is acknowledged or requested, and nothing earlier', async (t) => {
  t.equal(read(dhcpv4Frame({ op: 2, type: 5, yiaddr: '10.1.0.5' })), `dhcpv4 10.1.0.5 by ${MAC}`)
  t.equal(read(dhcpv4Frame({ op: 2, type: 5, ciaddr: '10.1.0.6' })), `dhcpv4 10.1.0.6 by ${MAC}`)
  t.equal(read(dhcpv4Frame(REQUEST)), `dhcpv4 10.1.0.5 by ${MAC}`)
  t.equal(read(dhcpv4Frame({ op: 1, type: 3, ciaddr: '10.1.0.7' })), `dhcpv4 10.1.0.7 by ${MAC}`)
  const others = [
    { op: 2, type: 2, yiaddr: '10.1.0.5' },
    { op: 2, type: 6 },
    { op: 2, type: 5 },
    { op: 1, type: 1, requested: '10.1.0.5' },
    { op: 1, type: 5, ciaddr: '10.1.0.5' },
    { ...REQUEST, giaddr: '10.7.0.1' },
  ] as const
  for (const one of others) t.equal(read(dhcpv4Frame(one)), 'names-no-address', JSON.stringify(one))
})

t.test('DHCPv6 names the addresses of its associations while they are valid', async (t) => {
  for (const type of [3, 4, 5, 6, 7])
    t.equal(read(dhcpv6Frame(type, ['fd00:1::5'])), `dhcpv6 fd00:1::5 by ${MAC}`, `type ${type}`)
  t.equal(read(dhcpv6Frame(7, ['fd00:1::5'], 0)), 'names-no-address', 'it is taken back')
  t.equal(read(dhcpv6Frame(3, ['fd00:1::5'], 0)), `dhcpv6 fd00:1::5 by ${MAC}`, 'no wish')
  for (const type of [1, 2, 8, 9, 12, 13])
    t.equal(read(dhcpv6Frame(type, ['fd00:1::5'])), 'names-no-address', `type ${type}`)
  t.equal(read(dhcpv6Frame(7, [])), 'names-no-address')
  const many = Array.from({ length: MAXIMUM_HINTED + 3 }, (_, index) => `fd00:1::${index + 1}`)
  const hint = parseHintFrame(dhcpv6Frame(7, many))
  t.match(hint, { surplus: 3 })
  t.equal(typeof hint === 'string' ? 0 : hint.addresses.length, MAXIMUM_HINTED)
  const toGroup = dhcpv6Frame(7, ['fd00:1::5'])
  toGroup.set([0x33, 0x33])
  t.equal(read(toGroup), 'dhcpv6 fd00:1::5 by nobody')
})

t.test('a solicitation from :: names its target, one of a host does not', async (t) => {
  const known = `duplicate-address-detection fd00:1::5 by ${MAC}`
  const frame = solicitationFrame('fd00:1::5')
  t.equal(read(frame), known)
  t.equal(read(solicitationFrame('fd00:1::5', 'fd00:1::9')), 'malformed')
  t.equal(read(solicitationFrame('ff02::5')), 'malformed')
  t.equal(read(spoiled(frame, ETHERNET_BYTES + 7, 254)), 'malformed', 'it was forwarded')
  t.equal(read(spoiled(frame, ETHERNET_BYTES + 40, 136)), 'malformed', 'an advertisement')
})

t.test('what is cut anywhere, or not what it says, is told by its reason', async (t) => {
  const whole = [
    dhcpv4Frame({ op: 2, type: 5, yiaddr: '10.1.0.5' }),
    dhcpv6Frame(7, ['fd00:1::5', 'fd00:1::6']),
    solicitationFrame('fd00:1::5'),
  ]
  for (const frame of whole)
    for (let length = 0; length < frame.length; length += 1)
      t.equal(typeof parseHintFrame(frame.subarray(0, length)), 'string', `${length} bytes`)
  const [four, six] = [whole[0]!, whole[1]!]
  t.equal(read(spoiled(four, ETHERNET_BYTES + 6, 0x20)), 'fragment')
  t.equal(read(spoiled(four, ETHERNET_BYTES, 0x44)), 'ip-header')
  t.equal(read(spoiled(four, ETHERNET_BYTES + 9, 6)), 'ip-header')
  t.equal(read(spoiled(six, ETHERNET_BYTES, 0x45)), 'ip-header')
  t.equal(read(spoiled(six, ETHERNET_BYTES + 6, 44)), 'ip-header')
  t.equal(read(spoiled(four, 12, 0x81)), 'ip-header')
  const udpLength = spoiled(four, ETHERNET_BYTES + 20 + 4, 0)
  t.equal(read(spoiled(udpLength, ETHERNET_BYTES + 20 + 5, 7)), 'cut-short')
})

t.test('options that lead nowhere, or have no end, are malformed', async (t) => {
  t.equal(dhcpv4Addresses(dhcpv4({ ...REQUEST, options: [12, 200, 1] })), 'malformed')
  t.equal(dhcpv4Addresses(dhcpv4(REQUEST).subarray(0, 239)), 'malformed')
  t.equal(dhcpv4Addresses(spoiled(dhcpv4(REQUEST), 237, 0)), 'malformed', 'plain BOOTP')
  const padding = new Array<number>(9000).fill(0)
  t.equal(dhcpv4Addresses(dhcpv4({ ...REQUEST, options: padding })), 'malformed')
  t.match(dhcpv4Addresses(dhcpv4({ ...REQUEST, options: padding.slice(0, 300) })), { surplus: 0 })
  const six = dhcpv6(7, ['fd00:1::5'])
  t.equal(dhcpv6Addresses(six.subarray(0, 3)), 'malformed')
  t.equal(dhcpv6Addresses(spoiled(six, 7, 3)), 'malformed', 'an option of another length')
  t.equal(dhcpv6Addresses(spoiled(six, 13, 11)), 'malformed', 'an association without its head')
  const endless = Uint8Array.of(7, 1, 2, 3, ...new Uint8Array(9000))
  t.equal(dhcpv6Addresses(endless), 'malformed', 'options without end')
})
