-- Health of a Canary for Argo CD: resource.customizations.health.bellwether.dev_Canary.
-- A gate, a pause or a freeze is Suspended: somebody decides. Failed or stalled is Degraded.

local health = { status = "Progressing", message = "waiting for the controller" }

local status = obj.status
if status == nil or status.phase == nil then
  return health
end

local generation = obj.metadata.generation
if status.observedGeneration ~= nil and generation ~= nil and status.observedGeneration < generation then
  health.message = "the new specification has not been looked at yet"
  return health
end

if status.message ~= nil then
  health.message = status.message
end

local waits_for_somebody = {
  AwaitingApproval = true,
  AwaitingJob = true,
  Frozen = true,
  Paused = true,
  Suspended = true,
  WorkloadPaused = true,
}

for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
    health.message = condition.message
    return health
  end
end

if status.phase == "Failed" then
  health.status = "Degraded"
elseif status.hold ~= nil and waits_for_somebody[status.hold.reason] then
  health.status = "Suspended"
  health.message = status.hold.message
elseif status.phase == "Initialized" or status.phase == "Succeeded" then
  health.status = "Healthy"
end

return health
