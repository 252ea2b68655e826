import { spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../src/api/server.js'
import { followReferrals } from '../../src/cli/rig-query.js'
import { parseAddressText, parseEidText } from '../../src/config/address-text.js'
import type { NodeConfig } from '../../src/config/node-config.js'
import { encodeSigned } from '../../src/lisp/authentication.js'
import {
  aKey,
  aMapping,
  aMapRegister,
  aNodeConfig,
  aPrefix,
  aSite,
  hmac,
} from '../support/builders.js'
import { createConversation } from '../support/conversation.js'
import { aDdt, aTreeNode, toMapServers, toNodes } from '../support/delegation-tree.js'
import { aConfig, aDatapath, createFakeNode } from '../support/fake-node.js'

const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js')
const ROOT = '127.0.0.21'

/** A node behind a real socket, so that the command meets what it will meet. */
async function listen(config: NodeConfig, port: number): Promise<Socket> {
  const conversation = createConversation(config)
  const records = [aMapping({ eidPrefix: '10.1.0.5/32', locators: ['127.0.0.99'] })]
  if (config.roles.includes('map-server') && config.node === '127.0.0.23') {
    const register = aMapRegister({ records, authenticationData: new Uint8Array(16) })
    conversation.bytes(0, '127.0.0.99', encodeSigned(register, aKey(), hmac))
  }
  const socket = createSocket('udp4')
  socket.on('message', (bytes, sender) => {
    const { address, port: fromPort } = sender
    for (const sent of conversation.bytes(0, address, new Uint8Array(bytes), fromPort).sent) {
      if (sent.message.kind === 'map-referral') socket.send(sent.bytes, sent.toPort, sent.to)
    }
  })
  await new Promise<void>((resolve) => socket.bind(port, config.node, resolve))
  return socket
}

const serves = { ...aNodeConfig().mapServer, sites: [aSite()] }
const tree = [
  aTreeNode(ROOT, {
    ddt: aDdt({ root: true, delegations: [toNodes('10.0.0.0/8', '127.0.0.29', '127.0.0.22')] }),
  }),
  aTreeNode('127.0.0.22', {
    ddt: aDdt({
      authoritative: [aPrefix('10.0.0.0/8')],
      delegations: [
        toMapServers('10.1.0.0/16', '127.0.0.24', '127.0.0.23'),
        toNodes('10.66.0.0/16', '127.0.0.25'),
      ],
    }),
  }),
  aTreeNode('127.0.0.23', { roles: ['map-server'], mapServer: serves }),
  aTreeNode('127.0.0.24', { roles: ['map-server'], mapServer: serves }),
  aTreeNode('127.0.0.25', {
    ddt: aDdt({ root: true, delegations: [toNodes('10.66.0.0/16', '127.0.0.22')] }),
  }),
]

let port = 0
t.before(async () => {
  const sockets: Socket[] = []
  for (const config of tree) {
    const socket = await listen(config, port)
    port = socket.address().port
    sockets.push(socket)
  }
  t.teardown(() => {
    for (const socket of sockets) socket.close()
  })
})

function rig(eid: string, about: Partial<Parameters<typeof followReferrals>[0]> = {}) {
  const ddtNode = parseAddressText(ROOT)!
  const from = parseAddressText('127.0.0.1')!
  return followReferrals({ eid: parseEidText(eid)!, ddtNode, from, port, waitMs: 100, ...about })
}

t.test('rig follows referrals from node to node, past silent ones, and times each', async (t) => {
  const { steps, end } = await rig('10.1.0.5', { tries: 1 })
  t.equal(end, 'ms-ack')
  t.strictSame(
    steps.map(({ depth, node, referral }) => `${depth} ${node} ${referral?.action}`),
    ['0 127.0.0.21 node-referral', '1 127.0.0.22 ms-referral', '2 127.0.0.23 ms-ack'],
  )
  for (const { referral } of steps) t.ok(referral!.roundTripMs >= 0 && referral!.roundTripMs < 1000)
  t.match(steps[0]?.referral, {
    eidPrefix: '10.0.0.0/8',
    ttlMinutes: 1440,
    authoritative: true,
    incomplete: false,
    locators: [{ rloc: '127.0.0.22', priority: 1, weight: 100 }, { rloc: '127.0.0.29' }],
  })
})

t.test(
  'rig --all asks every node of a referral and shows the silent and the ignorant',
  async (t) => {
    const { steps, end } = await rig('10.1.0.5', { all: true, tries: 1 })
    t.equal(end, 'ms-ack')
    t.strictSame(
      steps.map(({ node, referral }) => `${node} ${referral?.action}`),
      [
        '127.0.0.21 node-referral',
        '127.0.0.22 ms-referral',
        '127.0.0.29 undefined',
        '127.0.0.23 ms-ack',
        '127.0.0.24 ms-not-registered',
      ],
    )
  },
)

t.test('rig ends at holes, loops and silence, and at the first node when told to', async (t) => {
  t.equal((await rig('10.200.0.1')).end, 'delegation-hole')
  t.equal((await rig('10.1.0.6')).end, 'ms-not-registered', 'all Map-Servers of the set were asked')
  t.equal((await rig('10.66.0.1')).end, 'loop')
  t.equal((await rig('172.16.0.1')).end, 'delegation-hole', 'a root knows everything')
  t.match(await rig('10.1.0.5', { follow: false }), { end: 'not-followed', steps: { length: 1 } })
  const silent = await rig('10.1.0.5', { ddtNode: parseAddressText('127.0.0.29')!, tries: 1 })
  t.match(silent, { end: 'no-answer', steps: [{ referral: undefined }] })
})

t.test('godwit rig prints the tree, or JSON, and fails when nobody answers', async (t) => {
  const run = await exec(['rig', '10.1.0.5', '--to', ROOT, '--port', String(port)])
  t.equal(run.code, 0, run.err)
  t.match(run.out, /^127\.0\.0\.21 {2}node-referral 10\.0\.0\.0\/8 {2}ttl 1440 min, [\d.]+m?s\n/)
  t.match(run.out, /\n {2}127\.0\.0\.22 {2}ms-referral 10\.1\.0\.0\/16 /)
  t.match(run.out, /\n {4}127\.0\.0\.23 {2}ms-ack 10\.1\.0\.0\/16 {2}ttl 1440 min, incomplete, /)
  t.match(run.out, /\n10\.1\.0\.5: registered; the Map-Server has sent the request to its ETR\n$/)
  const json = await exec(['rig', '10.1.0.5', '--to', ROOT, '--port', String(port), '--json'])
  t.match(JSON.parse(json.out), { eid: '10.1.0.5', end: 'ms-ack', steps: [{ node: ROOT }, {}, {}] })
  const words = ['rig', '10.1.0.5', '--to', '127.0.0.29', '-c', '1', '--timeout', '20']
  const silent = await exec([...words, '--port', String(port)])
  t.equal(silent.code, 1)
  t.match(silent.err, /the search ended with no-answer/)
  t.equal((await exec(['rig', '10.1.0.5'])).code, 2)
  t.equal((await exec([...words.slice(0, 4), '-c', '0'])).code, 2)
})

t.test('lig self asks for every EID of ours and says which are not registered', async (t) => {
  const node = createFakeNode()
  const config = aConfig()
  const startedAt = new Date()
  const api = await startApi({ node, datapath: aDatapath, config, version: '1.2.3', startedAt })
  t.teardown(() => api.close())
  const locators = (rloc: string) => [{ rloc, priority: 1, weight: 100, reachable: true }]
  const value = (rloc: string) => ({
    ok: true as const,
    value: { eidPrefix: '[7]10.10.0.5/32', ttlMinutes: 15, locators: locators(rloc) },
  })
  const socket = ['--socket', config.api.socket]
  node.answer = async () => value('172.16.3.1')
  const good = await exec(['lig', 'self', ...socket])
  t.equal(good.code, 0, good.err)
  t.match(good.out, /^\[7\]10\.10\.0\.5\/32 {2}registered {2}[\d.]+ ms\n$/)
  node.answer = async () => value('192.0.2.77')
  const moved = await exec(['lig', 'self', '--json', ...socket])
  t.equal(moved.code, 1)
  t.match(JSON.parse(moved.out), { self: [{ verdict: 'elsewhere: 192.0.2.77' }] })
  node.answer = async () => ({ ok: false, status: 504, code: 'no-reply', message: 'no answer' })
  const none = await exec(['lig', 'self', ...socket])
  t.match(none.out, /10\.10\.0\.5\/32 {2}not registered/)
  t.match(none.err, /1 of 1 are not registered/)
})

function exec(words: readonly string[]) {
  const child = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  const run = { code: null as number | null, out: '', err: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    run.out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    run.err += chunk.toString()
  })
  return new Promise<typeof run>((resolve) => {
    child.on('close', (code) => resolve({ ...run, code }))
  })
}
