/**
 * The Mininet version of two-clouds runs the same daemons: one move under ping, no ping lost.
 *
 * Skipped by name without root or where Mininet is not installed (`scripts/setup.sh` installs it
 * where Debian has it).
 */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { packageFile } from '../../src/lab/names.js'
import { labSkip } from '../support/running-lab.js'

const PYTHON = '/usr/bin/python3'

function whyNot(): string | false {
  if (labSkip !== false) return labSkip
  const found = spawnSync(PYTHON, ['-c', 'import mininet.net']).status === 0
  return found ? false : 'the Debian package mininet is not installed'
}

t.setTimeout(120_000)

t.test('an endpoint moves in Mininet and no ping is lost', { skip: whyNot() }, async (t) => {
  const script = packageFile('topologies', 'mininet', 'two_clouds.py')
  const run = spawnSync(PYTHON, [script, '--test'], { encoding: 'utf8', timeout: 110_000 })
  t.equal(run.status, 0, `${run.stdout}\n${run.stderr}`)
})
