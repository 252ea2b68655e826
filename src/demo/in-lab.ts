/**
 * What every demo does with its laboratory: asks the machine, reads the topology, takes the lock, and
 * cleans up however it ends. Exit codes are those of the demos: 1 could not run, 130 interrupted.
 */
import { formatConfigErrors } from '../config/config-error.js'
import { lockTopology, takeDown } from '../lab/lab.js'
import { missingRequirements } from '../lab/requirements.js'
import { type LoadedTopology, loadTopology } from '../lab/topology.js'

/**
 * Reads `file`, gives it `name` and runs; the exit code. Nothing is up before `run` brings it up, and
 * nothing is left behind it.
 */
export async function inLab(
  file: string,
  name: string,
  run: (loaded: LoadedTopology) => Promise<number>,
): Promise<number> {
  const missing = missingRequirements()
  if (missing.length > 0) {
    process.stderr.write(`${missing[0]}\n`)
    return 1
  }
  const result = loadTopology(file)
  if (!result.ok) {
    process.stderr.write(`${formatConfigErrors(file, result.errors)}\n`)
    return 1
  }
  const loaded = { ...result, topology: { ...result.topology, name } }
  const unlock = lockTopology(name)
  // Once: an interrupt and the end of an interrupted run both ask for it, and whoever came second
  // would end the process while the first is half done.
  let cleaning: Promise<void> | undefined
  const cleanUp = (): Promise<void> => {
    cleaning ??= takeDown(name).then(unlock)
    return cleaning
  }
  onInterrupt(cleanUp)
  try {
    return await run(loaded)
  } finally {
    await cleanUp()
  }
}

function onInterrupt(cleanUp: () => Promise<void>): void {
  let stopping = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      process.stderr.write('# interrupted, cleaning up\n')
      cleanUp().finally(() => process.exit(130))
    })
  }
}
