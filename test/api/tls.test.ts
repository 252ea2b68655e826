/**
 * The API over TLS on TCP, with certificates that openssl makes for the occasion: who is let in,
 * who is not, and what the command line says about it.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../src/api/server.js'
import { aConfig, createFakeNode, temporaryDirectory } from '../support/fake-node.js'

/** Elliptic curves, because making RSA keys takes longer than the test. */
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

const directory = temporaryDirectory()
const main = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js')
const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed'

t.test('with a client CA configured', { skip }, async (t) => {
  makeAuthority('ca')
  makeAuthority('foreign-ca')
  makeCertificate('server', 'ca', 'subjectAltName=IP:127.0.0.1')
  makeCertificate('operator', 'ca', 'extendedKeyUsage=clientAuth')
  makeCertificate('stranger', 'foreign-ca', 'extendedKeyUsage=clientAuth')
  const port = await freePort()
  const base = aConfig()
  const tls = {
    certificateFile: pem('server'),
    keyFile: keyOf('server'),
    clientCaFile: pem('ca'),
  }
  const config = { ...base, api: { ...base.api, tcp: { address: '127.0.0.1', port, tls } } }
  const node = createFakeNode()
  const options = { node, datapath: undefined, config, version: '1', startedAt: new Date() }
  const api = await startApi(options)
  t.teardown(() => api.close())
  const url = `https://127.0.0.1:${port}`
  t.same(api.addresses, [`unix:${base.api.socket}`, url])

  const get = (files: { cert?: Buffer; key?: Buffer } = {}): Promise<number | string> =>
    new Promise((resolve) => {
      const ca = readFileSync(pem('ca'))
      const outgoing = request(`${url}/v1/health`, { ca, agent: false, ...files }, (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      outgoing.on('error', (cause: NodeJS.ErrnoException) => resolve(cause.code ?? cause.message))
      outgoing.end()
    })
  const client = (name: string) => ({
    cert: readFileSync(pem(name)),
    key: readFileSync(keyOf(name)),
  })

  t.test('a client of that CA is served, no other and none without', async (t) => {
    t.equal(await get(client('operator')), 200)
    t.type(await get(), 'string', 'no certificate')
    t.type(await get(client('stranger')), 'string', 'a certificate of another CA')
    t.equal(await get(client('operator')), 200, 'refusals leave it working')
  })

  t.test('TLS below 1.2 and plain HTTP get no answer', async (t) => {
    const old = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_1', '-CAfile', pem('ca')]
    const run = await finish('openssl', old)
    t.match(run.out + run.err, /alert|no protocols|unsupported|errno|error/i)
    t.notMatch(run.out, /Verification: OK[\s\S]*Cipher is (?!\(NONE\))/)
    const plain = await finish(process.execPath, [
      '-e',
      `require('node:http').get('http://127.0.0.1:${port}/v1/health', r => console.log(r.statusCode)).on('error', e => console.log(e.code))`,
    ])
    t.not(plain.out.trim(), '200')
  })

  t.test('the command line: --ca, --cert, --key, and a sentence for each mistake', async (t) => {
    const good = ['--ca', pem('ca'), '--cert', pem('operator'), '--key', keyOf('operator')]
    const godwit = (...words: string[]) =>
      finish(process.execPath, [main, 'show', 'node', '--url', url, ...words])
    const run = await godwit(...good)
    t.same([run.code, run.err], [0, ''])
    t.match(run.out, /^node {13}cloud-b/m)
    const broken = join(directory, 'broken.pem')
    writeFileSync(broken, 'not a certificate')
    const mistakes: [string[], number, RegExp][] = [
      [[], 1, /is not believed: .*\n {2}name the CA .* with --ca FILE/],
      [['--ca', pem('foreign-ca')], 1, /is not believed/],
      [good.slice(0, 2), 1, /refuses us|went away/],
      [
        [...good.slice(0, 2), '--cert', pem('stranger'), '--key', keyOf('stranger')],
        1,
        /refuses us|went away/,
      ],
      [good.slice(0, 4), 2, /--cert and --key belong together/],
      [[...good.slice(0, 4), '--key', join(directory, 'none.key')], 2, /--key .* cannot be read/],
      [[...good.slice(0, 2), '--cert', broken, '--key', broken], 1, /no TLS with/],
    ]
    for (const [words, code, message] of mistakes) {
      const failed = await godwit(...words)
      t.same([failed.code, failed.out], [code, ''], words.join(' '))
      t.match(failed.err, message)
    }
    const socket = await finish(process.execPath, [main, 'show', 'node', '--ca', pem('ca')])
    t.equal(socket.code, 2)
    t.match(socket.err, /--ca means nothing without --url/)
  })
})

function pem(name: string): string {
  return join(directory, `${name}.pem`)
}

function keyOf(name: string): string {
  return join(directory, `${name}.key`)
}

function makeAuthority(name: string): void {
  const files = ['-keyout', keyOf(name), '-out', pem(name)]
  openssl('req', '-x509', ...NEW_KEY, ...files, '-days', '2', '-subj', `/CN=${name}`)
}

function makeCertificate(name: string, authority: string, extension: string): void {
  const request = join(directory, `${name}.csr`)
  const extensions = join(directory, `${name}.ext`)
  writeFileSync(extensions, `${extension}\n`)
  openssl('req', ...NEW_KEY, '-keyout', keyOf(name), '-out', request, '-subj', `/CN=${name}`)
  const signer = ['-CA', pem(authority), '-CAkey', keyOf(authority), '-CAcreateserial']
  openssl(
    'x509',
    '-req',
    '-in',
    request,
    ...signer,
    '-out',
    pem(name),
    '-days',
    '2',
    '-extfile',
    extensions,
  )
}

function openssl(...words: string[]): void {
  const run = spawnSync('openssl', words, { encoding: 'utf8' })
  if (run.status !== 0) throw new Error(`openssl ${words[0]}: ${run.stderr}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

function finish(
  program: string,
  words: readonly string[],
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })))
}
