/**
 * Runs the bpf-*-cases.ts in network and mount namespaces that vanish with them.
 */
import { spawnSync } from 'node:child_process'
import { missingRequirement } from './workbench.js'

const reason = missingRequirement()
if (reason !== undefined) {
  const { default: t } = await import('tap')
  t.test('BPF programs, packet in and packet out', { skip: reason }, async () => {})
} else if (process.env['GODWIT_TEST_NAMESPACE'] === 'bpf-programs') {
  await import('./bpf-cases.js')
} else {
  const child = spawnSync(
    'unshare',
    ['--net', '--mount', process.execPath, ...process.execArgv, import.meta.filename],
    { stdio: 'inherit', env: { ...process.env, GODWIT_TEST_NAMESPACE: 'bpf-programs' } },
  )
  process.exitCode = child.status ?? 1
}
