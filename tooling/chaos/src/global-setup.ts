import { startServices } from '@holdfast/services'

/** Vitest's global set-up: brings up what the tests of a package need, unless the environment names it already. */
export default async function setup(): Promise<() => Promise<void>> {
  const services = await startServices(['postgres'])
  Object.assign(process.env, services.urls)
  return () => services.stop()
}
