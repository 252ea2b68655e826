/**
 * Log, ICMP errors, checks before the start, and the command line of godwitd as a child process.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Event } from '../../src/control/event.js'
import { keyUnwrap, keyWrap } from '../../src/control/lisp-sec/lisp-sec-keys.js'
import { createBlockCipher } from '../../src/daemon/block-cipher.js'
import { missingCapabilities, oldKernel } from '../../src/daemon/capabilities.js'
import { forwardingIsOff } from '../../src/daemon/forwarding.js'
import { createIcmpResponder, icmpFrame, tooBigMessage } from '../../src/daemon/icmp.js'
import { createLog } from '../../src/daemon/log.js'
import { createRehearsal } from '../../src/daemon/rehearsal.js'
import type { PacketTooBig } from '../../src/datapath/bpf-events.js'
import { internetChecksum } from '../../src/datapath/internet-checksum.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { someCapabilities } from '../support/builders.js'

const godwitd = fileURLToPath(new URL('../../src/daemon/main.js', import.meta.url))
const at = new Date('2026-01-02T03:04:05.678Z')

t.test('an event is one JSON line: level, time, event, node, fields', async (t) => {
  const lines: string[] = []
  const log = createLog({
    node: 'a',
    level: 'info',
    write: (line) => lines.push(line),
    now: () => 0,
  })
  log.event({ name: 'eid-arrived', severity: 'notice', eid: '[7]10.0.0.1', count: 2 }, at)
  log.event({ name: 'smr-sent', severity: 'debug' }, at)
  log.say('error', 'store-write-failed', { why: 'disk full' })
  log.close()
  t.equal(lines.length, 2, 'nothing below the level')
  t.equal(
    lines[0]!.trim(),
    '{"level":"notice","time":"2026-01-02T03:04:05.678Z","event":"eid-arrived","node":"a","eid":"[7]10.0.0.1","count":2}',
  )
  t.match(JSON.parse(lines[1]!), { level: 'error', event: 'store-write-failed', why: 'disk full' })
})

t.test('ten lines a second per name and reason, then a count of what was withheld', async (t) => {
  const lines: { event: string; reason?: string; suppressed?: number }[] = []
  let now = 0
  const log = createLog({
    node: 'a',
    level: 'debug',
    write: (line) => lines.push(JSON.parse(line)),
    now: () => now,
  })
  const flood = (count: number, reason: string): void => {
    const event: Event = { name: 'datagram-ignored', severity: 'debug', reason }
    for (let index = 0; index < count; index += 1) log.event(event, at)
  }
  flood(25, 'malformed')
  flood(3, 'unknown-type')
  t.equal(lines.length, 13)
  now = 1_000
  flood(1, 'malformed')
  t.equal(lines[13]!.suppressed, 15)
  t.equal(lines[14]!.suppressed, undefined)
  for (let index = 0; index < 20; index += 1)
    log.event({ name: 'move-converged', severity: 'info' }, at)
  t.equal(
    lines.filter(({ event }) => event === 'move-converged').length,
    20,
    'moves are never withheld',
  )
  log.close()
})

/** An inner packet of 1,500 bytes, cut to 192, from 10.10.0.5 or fd00:10::5. */
function tooBig(family: 4 | 6, change: (head: Uint8Array) => void = () => {}): PacketTooBig {
  const head = new Uint8Array(192)
  if (family === 4) {
    head.set([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 17])
    head.set(parseIpAddress('10.10.0.5')!.bytes, 12)
  } else {
    head.set([0x60, 0, 0, 0, 5, 0xb4, 17, 64])
    head.set(parseIpAddress('fd00:10::5')!.bytes, 8)
  }
  change(head)
  return { instanceId: 7, interfaceName: 'site0', mtu: family === 4 ? 1464 : 1244, head }
}
const own4 = parseIpAddress('10.10.0.1')!
const own6 = parseIpAddress('fd00:10::1')!

t.test(
  'fragmentation-needed and packet-too-big carry MTU, quote and right checksums',
  async (t) => {
    const four = tooBigMessage(tooBig(4), own4, parseIpAddress('10.10.0.5')!)
    t.same([...four.subarray(0, 2), ...four.subarray(4, 8)], [3, 4, 0, 0, 1464 >> 8, 1464 & 0xff])
    t.equal(internetChecksum([four]), 0)
    t.same(four.subarray(8), tooBig(4).head)
    const host = parseIpAddress('fd00:10::5')!
    const six = tooBigMessage(tooBig(6), own6, host)
    t.same(
      [...six.subarray(0, 2), ...six.subarray(4, 8)],
      [2, 0, 0, 0, 1280 >> 8, 1280 & 0xff],
      'never below 1280',
    )
    const pseudo = Uint8Array.of(0, 0, 0, six.length, 0, 0, 0, 58)
    t.equal(internetChecksum([own6.bytes, host.bytes, pseudo, six]), 0)
    const mac = new Uint8Array(6).fill(2)
    const frame = icmpFrame(four, own4, parseIpAddress('10.10.0.5')!, mac, mac)
    t.equal(internetChecksum([frame.subarray(14, 34)]), 0)
    t.equal(frame.length, 14 + 20 + four.length)
  },
)

t.test('ICMP errors are limited, and never answer errors, fragments or multicast', async (t) => {
  const frames: Uint8Array[] = []
  let now = 0
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 9)
  const icmp = createIcmpResponder({
    interfaces: () => [
      {
        name: 'site0',
        index: 5,
        mac,
        mtu: 1500,
        addresses: [
          { address: own4, maskLength: 24 },
          { address: own6, maskLength: 64 },
        ],
      },
    ],
    mac: () => mac,
    sendFrame: (_index, frame) => frames.push(frame),
    log: () => {},
    now: () => now,
    useRawSocket: false,
  })
  for (let index = 0; index < 30; index += 1) icmp.take(tooBig(4))
  t.equal(frames.length, 10, 'ten a second to one source')
  t.equal(icmp.counters()['rate-limited'], 20)
  now = 1_000
  for (let index = 0; index < 150; index += 1) icmp.take(tooBig(4, (head) => head.set([index], 15)))
  t.equal(frames.length, 110, 'a hundred a second in all')
  now = 2_000
  icmp.take(tooBig(4, (head) => head.set([1], 7)))
  icmp.take(tooBig(4, (head) => (head.set([1], 9) as never) ?? head.set([3], 20)))
  icmp.take(tooBig(4, (head) => head.set([224], 12)))
  icmp.take(tooBig(6, (head) => head.set([0xff], 8)))
  icmp.take({ ...tooBig(4), head: new Uint8Array(4) })
  t.equal(frames.length, 110)
  t.equal(icmp.counters()['not-answerable'], 5)
  icmp.take({ ...tooBig(4), interfaceName: 'core0' })
  t.equal(icmp.counters()['no-interface'], 1)
  icmp.take(tooBig(6))
  t.equal(frames.at(-1)![12], 0x86)
  icmp.close()
})

t.test('what is lacking is said in one sentence with the remedy', async (t) => {
  t.equal(missingCapabilities('CapEff:\t000001ffffffffff\n'), undefined)
  t.match(
    missingCapabilities('CapEff:\t0000000000000000\n'),
    /CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW .* run it as root/,
  )
  t.match(
    missingCapabilities('CapEff:\t0000000000203000\n'),
    undefined,
    'CAP_SYS_ADMIN stands for CAP_BPF',
  )
  t.match(oldKernel('6.1.0-18-amd64'), /Linux 6\.1\.0-18-amd64 is too old: .* 6\.6/)
  t.equal(oldKernel('6.6.0'), undefined)
  t.equal(oldKernel('7.0'), undefined)
})

t.test('a kernel that does not forward where packets pass is said with the remedy', async (t) => {
  const config = {
    rlocs: [{ address: '192.0.2.1', interface: 'core0', priority: 1, weight: 100 }],
    siteInterfaces: [{ name: 'br0', instanceId: 7, proxyNeighbours: true }],
    eidPrefixes: [],
    dynamicEidPrefixes: [],
  }
  const kernel = (values: Record<string, string>) => (path: string) => {
    const value = values[path.replace('/proc/sys/net/', '')]
    if (value === undefined) throw new Error(`${path}: no such file`)
    return value
  }
  const core = 'ipv4/conf/core0/forwarding'
  const bridge = 'ipv4/conf/br0/forwarding'
  t.equal(forwardingIsOff(config, kernel({ [core]: '1\n', [bridge]: '1\n' })), undefined)
  t.match(
    forwardingIsOff(config, kernel({ [core]: '1\n', [bridge]: '0\n' })),
    /does not forward ipv4 on br0, .*no-route-to-rloc: sysctl -w net\.ipv4\.ip_forward=1$/,
  )
  t.equal(forwardingIsOff(config, kernel({ [core]: '1\n' })), undefined, 'br0 is not there yet')
  const prefix = { prefix: 'fd00:10::/64', instanceId: 7, interface: 'br0' }
  const both = { ...config, eidPrefixes: [prefix] }
  const sixth = { 'ipv6/conf/br0/forwarding': '0\n', 'ipv6/conf/core0/forwarding': '1\n' }
  t.match(
    forwardingIsOff(both, kernel({ ...sixth, [core]: '0\n', [bridge]: '1\n' })),
    /ipv4 on core0, ipv6 on br0, .*ip_forward=1 net\.ipv6\.conf\.all\.forwarding=1$/,
  )
})

t.test('godwitd checks a configuration and says everything that is wrong with it', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-shell-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const run = (words: readonly string[]) =>
    spawnSync(process.execPath, [godwitd, ...words], { encoding: 'utf8' })
  const bad = join(directory, 'bad.yaml')
  writeFileSync(bad, 'node: Bad Name\nroles: [itr]\nrlocs: [{address: 1.2.3, interface: eth0}]\n')
  for (const words of [['check-config', bad], [bad], ['run', bad]]) {
    const { status, stderr } = run(words)
    t.equal(status, 2, words.join(' '))
    t.match(stderr, /rlocs\[0\]\.address/)
    t.match(stderr, /node/)
  }
  const good = join(directory, 'good.yaml')
  const key = join(directory, 'key')
  writeFileSync(key, 'a-secret-of-some-length', { mode: 0o600 })
  writeFileSync(
    good,
    `node: ms
roles: [map-server, map-resolver]
rlocs: [{address: 192.0.2.1, interface: eth0}]
datapath: {kind: none}
mapServer: {sites: [{name: s, keys: [{secretFile: ${key}}], prefixes: [{prefix: 10.0.0.0/8}]}]}
`,
  )
  const checked = run(['check-config', good])
  t.equal(checked.status, 0, checked.stderr)
  t.match(checked.stdout, /valid/)
  t.match(run(['--version']).stdout, /^\d+\.\d+\.\d+/)
  t.match(run(['--help']).stdout, /check-config/)
  t.not(run([]).status, 0, 'a configuration is needed')
})

t.test('the rehearsal really moves its endpoint, announced and not', async (t) => {
  const rehearsal = createRehearsal(someCapabilities())
  const owners = Array.from({ length: 8 }, () => {
    const steps = [...rehearsal.performMove()].length
    t.ok(steps > 10, `${steps} steps, so that each is short`)
    return rehearsal.owner()
  })
  t.same(owners, Array.from({ length: 4 }, () => ['cloud-1', 'cloud-2']).flat())
})

t.test('the block cipher is AES-128, block by block, whatever keys come in between', async (t) => {
  const cipher = createBlockCipher()
  const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
  // FIPS 197, appendix C.1.
  const key = hex('000102030405060708090a0b0c0d0e0f')
  const [plain, sealed] = ['00112233445566778899aabbccddeeff', '69c4e0d86a7b0430d8cdb78070b4c55a']
  const other = hex('ffffffffffffffffffffffffffffffff')
  for (let round = 0; round < 3; round += 1) {
    t.same(cipher.encrypt(key, hex(plain)), hex(sealed))
    t.same(cipher.decrypt(key, hex(sealed)), hex(plain))
    t.notSame(cipher.encrypt(other, hex(plain)), hex(sealed))
  }
  const reused = new Uint8Array(key)
  t.same(cipher.encrypt(reused, hex(plain)), hex(sealed))
  reused.fill(0xff)
  t.notSame(cipher.encrypt(reused, hex(plain)), hex(sealed), 'the bytes of a key count')
  // RFC 3394 §4.1.
  const wrapped = hex('1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5')
  t.same(keyWrap(key, hex(plain), cipher), wrapped)
  t.same(keyUnwrap(key, wrapped, cipher), hex(plain))
})
