/**
 * The script that libvirt calls on every change of a domain, and its installation.
 *
 * It may not call libvirt, must write nothing to stdout (that would replace the domain XML of a
 * migration) and its failure would fail the migration. So it leaves a file with arguments and XML
 * in a spool, says its name on the agent's socket, and exits 0, whatever happened; without an agent
 * one line in its log says so, and the agent finds the file when it starts.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

export const DEFAULT_RUNTIME_DIRECTORY = '/run/godwit/hypervisor'
export const HOOK_FILE = '/etc/libvirt/hooks/qemu'
/** Says that a script is ours, whatever version. */
const MARK = '# godwit hypervisor hook'
/** Descriptions longer than this are cut, and then refused by the reader. */
const MAXIMUM_DESCRIPTION_BYTES = (1 << 20) + 1
/** Events that nobody fetches are not kept without end. */
export const MAXIMUM_SPOOLED = 256

/** The script's text; paths are as libvirtd sees them. */
function hookScript(runtimeDirectory = DEFAULT_RUNTIME_DIRECTORY): string {
  return `#!/bin/sh
${MARK}: tells the agent of this host what libvirt does with a domain.
# Arguments: DOMAIN OPERATION SUB-OPERATION EXTRA; the domain XML on stdin. Nothing may go to stdout,
# and the exit status is always 0: a migration never fails because of this.
exec >/dev/null 2>&1
run='${runtimeDirectory}'
name=$(date +%s%N)-$$
set -f
if [ -d "$run/spool" ] && [ "$(ls "$run/spool" | wc -l)" -lt ${MAXIMUM_SPOOLED} ]; then
  { printf '%s\\n%s\\n%s\\n' "$1" "$2" "$3"; head -c ${MAXIMUM_DESCRIPTION_BYTES}; } > "$run/spool/.$name" &&
    mv "$run/spool/.$name" "$run/spool/$name"
fi
timeout 0.04 logger --socket "$run/hook.sock" --socket-errors=on --id=$$ --tag godwit-hook "$name" ||
  printf '%s %s %s %s: no agent listens; it will be read when one starts\\n' "$(date -Is)" "$1" "$2" "$3" >> "$run/hook.log"
exit 0
`
}

export type InstallOutcome = 'installed' | 'unchanged' | 'foreign'

/**
 * Writes the script to `file` and makes its directories. A hook of somebody else is left alone
 * (`foreign`) unless `force`: then it is kept beside it as `.before-godwit` and no longer called.
 */
export function installHook(
  options: { file?: string; runtimeDirectory?: string; seenAs?: string; force?: boolean } = {},
): InstallOutcome {
  const { file = HOOK_FILE, runtimeDirectory = DEFAULT_RUNTIME_DIRECTORY, force = false } = options
  const text = hookScript(options.seenAs ?? runtimeDirectory)
  mkdirSync(join(runtimeDirectory, 'spool'), { recursive: true, mode: 0o700 })
  mkdirSync(dirname(file), { recursive: true })
  if (existsSync(file)) {
    const there = readFileSync(file, 'utf8')
    if (there === text) return 'unchanged'
    if (!there.includes(MARK)) {
      if (!force) return 'foreign'
      renameSync(file, `${file}.before-godwit`)
    }
  }
  // Never half written: libvirt may call it at any moment.
  writeFileSync(`${file}.new`, text)
  chmodSync(`${file}.new`, 0o755)
  renameSync(`${file}.new`, file)
  return 'installed'
}

/** Removes our script; a foreign one stays. True when it was there. */
export function removeHook(file = HOOK_FILE): boolean {
  if (!existsSync(file) || !readFileSync(file, 'utf8').includes(MARK)) return false
  rmSync(file)
  return true
}
