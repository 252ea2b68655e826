/**
 * The house rules that a machine can judge: which room may import which, what the core may not touch,
 * file sizes, names that may not exist, and that docs/architecture.md names every folder.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..', '..')

/** Room → rooms it may import. `type:` rooms may be imported for types only. */
const arrows: Record<string, readonly string[]> = {
  lisp: [],
  tables: ['lisp'],
  control: ['lisp', 'tables', 'type:config'],
  config: ['lisp'],
  datapath: ['lisp', 'tables', 'type:control', 'type:config'],
  store: ['lisp', 'type:control', 'type:config'],
  capture: ['lisp'],
  api: ['lisp', 'control', 'config', 'workload', 'type:datapath'],
  journal: ['lisp', 'control', 'type:config'],
  workload: ['lisp', 'config'],
  hypervisor: ['lisp', 'workload'],
  daemon: ['lisp', 'control', 'datapath', 'config', 'api', 'store', 'journal'],
  lab: ['lisp', 'config', 'datapath'],
  demo: ['lab', 'config', 'lisp'],
  migrate: ['lab', 'demo', 'hypervisor', 'config'],
  sim: ['lisp', 'tables', 'control', 'datapath', 'config', 'store'],
  cli: ['lisp', 'hypervisor', 'capture', 'config', 'lab', 'api', 'sim', 'journal', 'type:control'],
}
/** What makes a run depend on anything but its inputs; banned where decisions are made. */
const coreRooms = ['lisp', 'tables', 'control']
const bannedInCore: readonly (readonly [RegExp, string])[] = [
  [/\bfrom 'node:/, 'node:* modules'],
  [/\bDate\b[.(]/, 'Date'],
  [/\bperformance\./, 'performance'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\bset(Timeout|Interval|Immediate)\b/, 'timers'],
  [/\basync\b|\bPromise\b|\bawait\b/, 'async'],
  [/\bconsole\./, 'console'],
  [/\bprocess\./, 'process'],
  [/\bBuffer\b/, 'Buffer'],
]
const bannedNames =
  /^(utils?|helpers?|common|misc|core|lib|manager|service|handler|base|types|index)\.(ts|c|h)$/
const maximumLines = 600

const sources = list('src').filter((file) => file.endsWith('.ts'))

t.test('imports go downward only', async (t) => {
  for (const file of sources) {
    const room = roomOf(file)
    for (const { target, typeOnly } of importsOf(file)) {
      const targetRoom = roomOf(target)
      if (targetRoom === room) continue
      const allowed = arrows[room] ?? []
      const ok =
        allowed.includes(targetRoom) || (typeOnly && allowed.includes(`type:${targetRoom}`))
      t.ok(ok, `${file} imports ${target}: ${room} may import ${allowed.join(', ') || 'nothing'}`)
    }
  }
})

t.test('the simulator knows no datapath but the model', async (t) => {
  for (const file of sources.filter((one) => roomOf(one) === 'sim'))
    for (const { target } of importsOf(file))
      if (roomOf(target) === 'datapath') t.match(target, /\/model-/, `${file} imports ${target}`)
})

t.test('a program that starts loads no schema library', async (t) => {
  for (const file of sources)
    t.notMatch(read(file), /^import (?!type )[^\n]*from '(typebox|ajv)/m, file)
})

t.test('no import cycle', async (t) => {
  const graph = new Map(
    sources.map((file) => [
      file,
      importsOf(file)
        .filter((one) => !one.typeOnly)
        .map((one) => one.target),
    ]),
  )
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      t.fail(`cycle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`)
      return
    }
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of sources) visit(file, [])
  t.ok(done.size > 0, `${done.size} files walked`)
})

t.test('the core touches no clock, socket, randomness or async', async (t) => {
  for (const file of sources.filter((one) => coreRooms.includes(roomOf(one)))) {
    const code = withoutComments(read(file))
    for (const [pattern, what] of bannedInCore) t.notMatch(code, pattern, `${file}: ${what}`)
  }
})

t.test('no module-level mutable state in the core', async (t) => {
  for (const file of sources.filter((one) => coreRooms.includes(roomOf(one))))
    t.notMatch(read(file), /^(export )?let /m, file)
})

t.test('files are small enough to hold in the head and begin with what they decide', async (t) => {
  const native = list('native').filter(
    (file) => /\.(c|h)$/.test(file) && !file.includes('.generated.'),
  )
  for (const file of [...sources, ...native].filter((one) => !one.includes('.generated.'))) {
    const text = read(file)
    t.ok(text.split('\n').length <= maximumLines, `${file} has ${text.split('\n').length} lines`)
    t.match(text, /^(#!.*\n)?\/[/*]/, `${file} begins with a comment`)
  }
})

t.test('no dumping grounds, no barrels', async (t) => {
  const bad = [...sources, ...list('native')].filter((file) =>
    bannedNames.test(file.split('/').pop() ?? ''),
  )
  t.same(bad, [])
})

t.test('docs/architecture.md names every folder and stays short', async (t) => {
  const text = read('docs/architecture.md')
  t.ok(text.split('\n').length <= 200)
  for (const parent of ['.', 'src', 'native'])
    for (const name of readdirSync(join(root, parent)))
      if (statSync(join(root, parent, name)).isDirectory() && isOurs(name))
        t.ok(text.includes(`${name}/`), `${parent}/${name} is named`)
})

t.test('every link in the documents leads somewhere', async (t) => {
  const folders = [...list('docs'), ...list('bench'), ...list('native')]
  const documents = ['README.md', ...folders.filter((file) => file.endsWith('.md'))]
  for (const file of documents)
    for (const [, target = ''] of read(file).matchAll(/\]\(([^)#\s]+)[^)]*\)/g))
      if (!/^[a-z]+:/.test(target))
        t.ok(existsSync(join(root, dirname(file), target)), `${file} → ${target}`)
})

function isOurs(name: string): boolean {
  return (
    !name.startsWith('.') && !['node_modules', 'build', 'out'].includes(name) && !/^dist/.test(name)
  )
}

function list(directory: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((name) => statSync(join(root, name)).isFile())
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function roomOf(file: string): string {
  return file.split('/')[1] ?? ''
}

/** Comments blanked out; strings are left, which is enough for these patterns. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
}

function importsOf(file: string): { target: string; typeOnly: boolean }[] {
  const text = withoutComments(read(file))
  const found: { target: string; typeOnly: boolean }[] = []
  for (const [, type, specifier = ''] of text.matchAll(
    /\b(?:import|export)\s+(type\s+)?[^'"]*?\bfrom\s+'(\.[^']+)'/g,
  )) {
    const target = normalize(join(dirname(file), specifier)).replace(/\.js$/, '.ts')
    found.push({ target: relative('.', target), typeOnly: type !== undefined })
  }
  return found
}
