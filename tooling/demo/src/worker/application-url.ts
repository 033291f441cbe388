/** The database's URL for one worker, whose connections can then be told from the others'. */
export function applicationUrl(url: string, worker: string): string {
  const own = new URL(url)
  own.searchParams.set('application_name', applicationName(worker))
  return own.href
}

export const applicationName = (worker: string): string => `holdfast demo ${worker}`
