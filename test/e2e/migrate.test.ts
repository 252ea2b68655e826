/**
 * The short form of `npm run migrate`: a real guest goes to the other cloud and back, live, and no
 * packet is lost.
 *
 * Skipped by name without root, or where QEMU, libvirt or the guest's kernel cannot be installed.
 */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { compiledFile, packageFile } from '../../src/lab/names.js'
import { labSkip } from '../support/running-lab.js'

function whyNot(): string | false {
  if (labSkip !== false) return labSkip
  const script = packageFile('scripts', 'setup-hypervisors.sh')
  const run = spawnSync('bash', [script], { encoding: 'utf8', timeout: 170_000 })
  if (run.status === 0) return false
  return run.stderr.trim().split('\n').at(-1) ?? 'QEMU and libvirt cannot be installed'
}

t.setTimeout(300_000)

t.test(
  'a virtual machine is live-migrated there and back without loss',
  { skip: whyNot() },
  async (t) => {
    const main = compiledFile('../migrate/main.js')
    const args = [main, '--json', '--short', '--migrations', '2', '--name', 'test-migrate']
    const run = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 })
    t.equal(run.status, 0, run.stderr)
    const result = JSON.parse(run.stdout.trim().split('\n').at(-1) ?? '{}')
    t.equal(result.migrations.length, 2)
    for (const migration of result.migrations) {
      t.match(migration, { completed: true, lost: 0 })
      t.ok(migration.sent > 1_000, `${migration.sent} packets were counted`)
      t.ok(migration.vmDowntimeMs > 0)
      const told = migration.timeline.map(({ what }: { what: string }) => what)
      t.ok(told.includes('hook migrate begin → prepare'), 'the agent heard the hook')
      t.ok(
        told.some((what: string) => what.endsWith('→ stopped')),
        'and the stop',
      )
    }
    t.equal(result.tcp.intact, true)
    t.equal(spawnSync('ls', ['/run/netns']).stdout.includes('gw-test-migrate.'), false)
  },
)
