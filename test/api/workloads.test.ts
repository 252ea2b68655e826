/** `/v1/workloads`: machines announced by their own descriptions, all EIDs or none. */
import { request } from 'node:http'
import t from 'tap'
import { type Api, startApi } from '../../src/api/server.js'
import type { CommandResult } from '../../src/control/command.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import { createMemoryStore } from '../../src/store/memory-store.js'
import type { Store } from '../../src/store/store.js'
import { aConfig, aDatapath, createFakeNode } from '../support/fake-node.js'

const node = createFakeNode()
const config = {
  ...aConfig(),
  dynamicEidPrefixes: [
    { prefix: '10.10.0.0/24', instanceId: 7, interface: 'br0' },
    { prefix: 'fd00:10::/64', instanceId: 7, interface: 'br1' },
  ],
} as ReturnType<typeof aConfig>
let api: Api

t.before(async () => {
  api = await startApi({ node, datapath: aDatapath, config, version: '1', startedAt: new Date() })
})
t.teardown(() => api.close())
t.beforeEach(() => {
  node.commands.length = 0
  node.answer = async () => ({ ok: true, value: {} })
})

const uuid = '5e1f0a10-0000-4000-8000-000000000005'
const domain = (...eids: string[]): string => `<domain><name>vm1</name><uuid>${uuid}</uuid>
  <metadata><g:eids xmlns:g='urn:godwit:domain:1' instanceId='7'>${eids
    .map((eid) => `<g:eid>${eid}</g:eid>`)
    .join('')}</g:eids></metadata></domain>`

/** `add-eid [7]10.10.0.5/32`, one per command. */
const told = (): string[] =>
  node.commands.flatMap((command) =>
    'eidPrefix' in command && command.eidPrefix
      ? [`${command.kind} ${formatEidPrefix(command.eidPrefix)}`]
      : [],
  )

t.test('a domain announces all of its EIDs, is listed, and withdraws them', async (t) => {
  const posted = await call('POST', '/v1/workloads', domain('10.10.0.5', 'fd00:10::5'))
  t.equal(posted.status, 201)
  const view = {
    workloadId: uuid,
    name: 'vm1',
    kind: 'domain',
    eids: ['[7]10.10.0.5', '[7]fd00:10::5'],
  }
  t.same(posted.json, view)
  t.match(node.commands[0], { kind: 'add-eid', interfaceName: 'br0' })
  t.match(node.commands[1], { kind: 'add-eid', interfaceName: 'br1' })
  t.same((await call('GET', '/v1/workloads')).json, { workloads: [view] })
  node.commands.length = 0
  t.equal((await call('DELETE', `/v1/workloads/${uuid}`)).status, 200)
  t.same(told(), ['remove-eid [7]10.10.0.5/32', 'remove-eid [7]fd00:10::5/128'])
  t.same((await call('GET', '/v1/workloads')).json, { workloads: [] })
  t.equal((await call('DELETE', `/v1/workloads/${uuid}`)).status, 404)
})

t.test('a description must come as XML, which no page can send here unasked', async (t) => {
  for (const type of ['text/plain', 'text/plain;charset=UTF-8', undefined]) {
    const posted = await call('POST', '/v1/workloads', domain('10.10.0.5'), type ?? '')
    t.match([posted.status, posted.json.error.code], [415, 'unsupported-media-type'])
  }
  t.same(told(), [])
})

t.test('announced again with other EIDs, the former ones are withdrawn', async (t) => {
  await call('POST', '/v1/workloads', domain('10.10.0.5', '10.10.0.6'))
  node.commands.length = 0
  t.equal((await call('POST', '/v1/workloads', domain('10.10.0.6'))).status, 201)
  t.same(told(), ['add-eid [7]10.10.0.6/32', 'remove-eid [7]10.10.0.5/32'])
  await call('DELETE', `/v1/workloads/${uuid}`)
})

t.test('the list outlives the process, and what cannot be kept is not announced', async (t) => {
  const store = createMemoryStore()
  const start = async (records: readonly StoredRecord[], save: Store['save']) => {
    await api.close()
    const workloads = { records, save }
    const usual = { node, datapath: aDatapath, config, version: '1', startedAt: new Date() }
    api = await startApi({ ...usual, workloads })
  }
  await start([], store.save)
  await call('POST', '/v1/workloads', domain('10.10.0.5'))
  await start(await store.load(), store.save)
  t.match((await call('GET', '/v1/workloads')).json, { workloads: [{ eids: ['[7]10.10.0.5'] }] })
  await call('DELETE', `/v1/workloads/${uuid}`)
  t.same(await store.load(), [])
  await start([], () => Promise.reject(new Error('disk full')))
  node.commands.length = 0
  t.equal((await call('POST', '/v1/workloads', domain('10.10.0.5'))).status, 500)
  t.same(told(), ['add-eid [7]10.10.0.5/32', 'remove-eid [7]10.10.0.5/32'])
  await start([], store.save)
})

t.test('one EID that is not allowed here refuses the whole, before anything is told', async (t) => {
  const answer = await call('POST', '/v1/workloads', domain('10.10.0.5', '10.99.0.1'))
  t.match(answer, { status: 403, json: { error: { code: 'eid-not-allowed' } } })
  t.match(answer.json.error.message, /\[7\]10\.99\.0\.1/)
  const tenant = domain('10.10.0.5').replace("instanceId='7'", "instanceId='8'")
  t.match(await call('POST', '/v1/workloads', tenant), {
    status: 403,
    json: { error: { code: 'eid-not-allowed', message: /\[8\]10\.10\.0\.5/ } },
  })
  t.same(node.commands, [])
})

t.test('one EID that the node refuses takes the others back', async (t) => {
  const refusal: CommandResult = {
    ok: false,
    status: 409,
    code: 'move-in-progress',
    message: 'moving',
  }
  node.answer = async (command) =>
    command.kind === 'add-eid' && command.eidPrefix.address.family === 6
      ? refusal
      : { ok: true, value: {} }
  const answer = await call('POST', '/v1/workloads', domain('10.10.0.5', 'fd00:10::5'))
  t.match(answer, { status: 409, json: { error: { code: 'move-in-progress' } } })
  t.same(told(), [
    'add-eid [7]10.10.0.5/32',
    'add-eid [7]fd00:10::5/128',
    'remove-eid [7]10.10.0.5/32',
  ])
  t.same((await call('GET', '/v1/workloads')).json, { workloads: [] })
})

t.test('descriptions that cannot be used are refused with their reason', async (t) => {
  const bomb = `<!DOCTYPE d [<!ENTITY a "aaaa">]>${domain('10.10.0.5')}`
  t.match(await call('POST', '/v1/workloads', bomb), {
    status: 400,
    json: { error: { code: 'bad-description', message: /document type/ } },
  })
  t.match(await call('POST', '/v1/workloads', '<domain'), { status: 400 })
  t.match(await call('POST', '/v1/workloads', domain()), {
    status: 400,
    json: { error: { code: 'no-eids' } },
  })
  const long = await call('POST', '/v1/workloads', domain(' '.repeat(10 << 20)))
  t.equal(long.status, 413)
  const json = await call('POST', '/v1/workloads', '{"a":1}', 'application/json')
  t.equal(json.status, 400)
  t.same(node.commands, [])
})

function call(
  method: string,
  path: string,
  body?: string,
  type = 'application/xml',
  // biome-ignore lint/suspicious/noExplicitAny: answers are compared as JSON
): Promise<{ status: number; json: any }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': type }
    const options = { socketPath: config.api.socket, path, method, headers, agent: false as const }
    const outgoing = request(options, (response) => {
      let text = ''
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, json: JSON.parse(text || 'null') }),
      )
    })
    // The daemon may answer and hang up before it has read 10 MB.
    outgoing.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EPIPE' && cause.code !== 'ECONNRESET') reject(cause)
    })
    outgoing.end(body)
  })
}
