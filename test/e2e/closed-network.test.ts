/**
 * What closed networks may use, LISP-SEC and peer profiles, between real daemons; and a capture of all of
 * it, read by us and by tshark.
 *
 *   host1 ── left ── core ── right ── host2       (mapping: Map-Server and Map-Resolver)
 *                     └── attacker
 *
 * `left` is spoken to as an implementation of the RFC 6830 era, `right` strictly; ETRs answer themselves,
 * so that their answers are those that LISP-SEC proves.
 */
import { spawnSync } from 'node:child_process'
import { get } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { listIn } from '../../src/lab/api-request.js'
import { type DaemonConfig, poll } from '../../src/lab/daemons.js'
import { packageFile, socketOf } from '../../src/lab/names.js'
import { encodeDataHeader } from '../../src/lisp/data-header.js'
import { encodeMessage } from '../../src/lisp/message.js'
import { ATTACKER, type Attacker, startAttacker } from '../support/attacker.js'
import { aMapRequest, anAddress } from '../support/builders.js'
import { udpPacket } from '../support/captured-packets.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const LAB = 'gw-closed'
const HOST2 = '10.32.0.2'
const LEFT = '172.17.1.1'
const RIGHT = '172.17.2.1'
const MAPPING = '172.17.4.1'
const DEADLINE_MS = 20_000

t.setTimeout(120_000)

const wrapping = (secretFile: string) => ({ id: 1, secretFile })
const itrKey = wrapping('itrs.key')
const etrKey = wrapping('etrs.key')

function closed(node: string, config: DaemonConfig): DaemonConfig {
  const server = (config['mapServer'] ?? { sites: [] }) as { readonly sites: DaemonConfig[] }
  const servers = (config['mapServers'] ?? []) as DaemonConfig[]
  const profile = (site: unknown) => (site === 'left' ? 'rfc6830' : 'strict')
  return {
    ...config,
    ...(node === 'mapping'
      ? {
          security: { mode: 'require', requesterKeys: [itrKey] },
          mapServer: {
            sites: server.sites.map((site) => ({
              ...site,
              profile: profile(site['name']),
              security: { mode: 'require', key: etrKey },
            })),
          },
        }
      : {
          // Who answers probes says whether it echoes.
          rlocProbe: { intervalSeconds: 1 },
          security: { mode: 'require', mapResolvers: [{ address: MAPPING, key: itrKey }] },
          closedNetwork: {
            echoNonce: true,
            statusBits: true,
            mapVersions: true,
            checkSources: true,
          },
          mapServers: servers.map((one) => ({
            ...one,
            registerSeconds: 2,
            profile: profile(node),
            proxyReply: false,
            security: { mode: 'require', keys: [etrKey] },
          })),
        }),
  }
}

t.test('closed network, LISP-SEC, profiles', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'static-pair.yaml', LAB, { adjust: closed })
  const file = join(lab.directory, 'core.pcap')
  const words = ['-i', 'left', '-U', '-w', file, 'port 4341 or port 4342']
  const capture = lab.start('core', 'tcpdump', ...words)
  await capture.says('listening')
  const attacker = await startAttacker(lab, 'core')
  t.teardown(() => attacker.close())

  await t.test('packets flow both ways, and nothing is lost at the start', async (t) => {
    const { stdout } = await lab.run('host1', 'ping', '-c', '60', '-i', '0.02', '-q', HOST2)
    t.match(stdout, ' 0% packet loss')
    const [entry] = await mapCache(lab, 'left')
    t.match(entry, { eidPrefix: '[7]10.32.0.0/24', action: 'forward', origin: 'map-reply' })
  })
  await t.test('a question without proof gets no answer', (t) => checkUnprotected(t, lab, attacker))
  await t.test('a source that is mapped to other RLOCs is dropped', (t) =>
    checkForgedSource(t, lab, attacker),
  )
  await poll(DEADLINE_MS, async () =>
    decoded(file).some(({ message }) => message === 'map-notify') ? undefined : 'no Map-Notify',
  )
  await capture.stop()
  const packets = decoded(file)
  t.test('nonces are asked for and echoed, versions are sent', async (t) =>
    checkHeaders(t, packets),
  )
  t.test('questions carry a wrapped key, answers both proofs', async (t) => {
    const ecm = packets.find(({ message }) => message === 'encapsulated-control')
    t.match(ecm, { security: true, inner: { message: 'map-request' } })
    const reply = packets.find((one) => one.message === 'map-reply' && one['rlocProbe'] === false)
    t.ok(reply?.['security'], 'the ETR signs')
  })
  t.test('each peer is spoken to as its profile says', async (t) => {
    const registers = packets.filter(({ message }) => message === 'map-register')
    t.ok(registers.length > 0)
    for (const one of registers) {
      t.equal(one['keyId'], 0, 'RFC 6830 knew no key ID')
      t.equal(String(one['authenticationData']).length, 64, 'the whole SHA-256')
    }
  })
  t.test('tshark reads the same of every packet', { skip: tsharkMissing() }, async (t) =>
    compareWithTshark(t, file, packets),
  )
})

type Packet = {
  readonly frame: number
  readonly message?: string
  readonly [name: string]: unknown
}

async function checkUnprotected(t: Test, lab: RunningLab, attacker: Attacker): Promise<void> {
  const request = aMapRequest({ eidPrefix: '[7]10.32.0.2/32', itrRlocs: [anAddress(ATTACKER)] })
  const question = encodeMessage({
    kind: 'encapsulated-control',
    security: false,
    ddtOriginated: false,
    innerSource: anAddress(ATTACKER),
    innerDestination: anAddress(HOST2),
    innerSourcePort: 4342,
    innerDestinationPort: 4342,
    message: encodeMessage(request),
  })
  await attacker.send({ to: MAPPING, datagrams: [question] })
  const count = () => counter(lab, 'mapping', 'map_reply_suppressed_total{reason="unprotected"')
  await poll(DEADLINE_MS, async () => ((await count()) > 0 ? undefined : 'not counted'))
  t.notOk(
    attacker.captured().some(({ to }) => to === ATTACKER),
    'nothing was sent to it',
  )
}

/** For three seconds it passes, because an EID may just have moved (RFC 9300 §16). */
async function checkForgedSource(t: Test, lab: RunningLab, attacker: Attacker): Promise<void> {
  const header = encodeDataHeader({
    nonce: undefined,
    echoNonceRequest: false,
    mapVersions: undefined,
    instanceId: 7,
    locatorStatusBits: undefined,
    nextProtocol: undefined,
    cryptoKeyId: 0,
  })
  const about = { source: '10.31.0.2', destination: HOST2, destinationPort: 9, payload: header }
  // `right` must know where 10.31.0.2 is: it does since it has answered.
  const packet = Buffer.concat([header, udpPacket(about)])
  const dropped = () => counter(lab, 'right', 'datapath_drops_total{reason="spoofed-source"')
  await poll(DEADLINE_MS, async () => {
    await attacker.send({ to: RIGHT, toPort: 4341, datagrams: [packet] })
    return (await dropped()) > 0 ? undefined : 'not dropped'
  })
  t.ok((await counter(lab, 'right', 'source_doubted_total')) > 0, 'and said')
  const { stdout } = await lab.run('host1', 'ping', '-c', '40', '-i', '0.02', '-q', HOST2)
  t.match(stdout, ' 0% packet loss', 'the true one is not')
}

function checkHeaders(t: Test, packets: readonly Packet[]): void {
  const headers = (source: string) =>
    packets
      .filter((one) => one.message === 'data' && one['source'] === source)
      .map((one) => one['header'] as { readonly [name: string]: unknown })
  for (const [from, to] of [
    [LEFT, RIGHT],
    [RIGHT, LEFT],
  ] as const) {
    const asked = headers(from).filter(({ echoNonceRequest }) => echoNonceRequest === true)
    const nonces = new Set(asked.map(({ nonce }) => nonce))
    t.ok(nonces.size > 0, `${from} asks for an echo`)
    const echoes = headers(to).filter((one) => nonces.has(one['nonce']))
    t.ok(echoes.length > 0, `${to} echoes`)
    t.ok(
      headers(from).some(({ mapVersions }) => mapVersions !== undefined),
      'map-versions',
    )
  }
}

const FIELDS = ['frame.number', 'lisp.type', 'lisp.nonce', 'lisp.keyid', 'lisp.mapping.ttl']
const DATA_FIELDS = ['lisp-data.flags', 'lisp-data.nonce', 'lisp-data.iid']
const TYPES: { readonly [type: string]: string } = {
  1: 'map-request',
  2: 'map-reply',
  3: 'map-register',
  4: 'map-notify',
  5: 'map-notify-ack',
  8: 'encapsulated-control',
}

function compareWithTshark(t: Test, file: string, packets: readonly Packet[]): void {
  const wanted = [...FIELDS, ...DATA_FIELDS].flatMap((field) => ['-e', field])
  const options = ['-r', file, '-T', 'fields', '-E', 'occurrence=f', ...wanted]
  const { stdout } = spawnSync('tshark', options, { encoding: 'utf8' })
  const theirs = new Map(
    stdout.split('\n').map((line) => [Number(line.split('\t')[0]), line.split('\t').slice(1)]),
  )
  const different: string[] = []
  for (const one of packets) {
    const [type, nonce, key, ttl, flags, dataNonce, instance] = theirs.get(one.frame) ?? []
    const same = (what: string, mine: unknown, other: string | undefined): void => {
      if (String(mine) !== String(other)) different.push(`${one.frame} ${what}: ${mine}, ${other}`)
    }
    if (one.message === 'data') {
      const header = one['header'] as { nonce?: string; instanceId?: number }
      same('N', header.nonce !== undefined, String((Number(flags) & 0x80) !== 0))
      if (header.nonce !== undefined)
        same('nonce', Number.parseInt(header.nonce, 16), String(Number(dataNonce)))
      same('instance-ID', header.instanceId, instance)
      continue
    }
    same('type', one.message, TYPES[type ?? ''])
    // It stops at authentication data before the message inside (RFC 9303 §6.1).
    if (one['security'] === true) continue
    const message = (one['inner'] ?? one) as Packet
    same(
      `nonce of ${String(one.message)}`,
      BigInt(`0x${String(message['nonce'])}`),
      String(BigInt(nonce || 0)),
    )
    // What tshark calls key ID are key ID and algorithm, as in RFC 6830.
    if (message['keyId'] !== undefined)
      same(
        'key',
        Number(message['keyId']) * 256 + Number(message['algorithm']),
        String(Number(key)),
      )
    const [record] = (message['records'] ?? []) as { ttlMinutes?: number }[]
    if (record?.ttlMinutes !== undefined) same('TTL', record.ttlMinutes, ttl)
  }
  t.strictSame(different, [])
  const kinds = new Set(packets.map(({ message }) => message))
  t.ok(kinds.size >= 6 && packets.length > 100, `${packets.length} packets of ${[...kinds]}`)
}

function decoded(file: string): Packet[] {
  const main = packageFile('dist/src/cli/main.js')
  const run = spawnSync(process.execPath, [main, 'decode', file, '--json'], { encoding: 'utf8' })
  const lines = run.stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Packet)
}

async function mapCache(lab: RunningLab, node: string): Promise<unknown[]> {
  const { body } = await lab.api(node, '/v1/map-cache')
  return listIn(body).filter((one) => JSON.stringify(one).includes('10.32.0.0/24'))
}

/** The sum of all metrics that begin with this, after `godwit_`. */
async function counter(lab: RunningLab, node: string, name: string): Promise<number> {
  const { topology } = lab
  const lines = (await textOf(socketOf(topology.name, node), '/metrics')).split('\n')
  const own = lines.filter((line) => line.startsWith(`godwit_${name}`))
  return own.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

function textOf(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath, path }, (answer) => {
      let text = ''
      answer.on('data', (chunk) => {
        text += chunk
      })
      answer.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

function tsharkMissing(): string | false {
  return spawnSync('tshark', ['--version']).status === 0 ? false : 'tshark is not installed'
}
