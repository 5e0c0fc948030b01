# STUB, replaced by the export of nbs/01_pixels.ipynb
def use_style():
    import matplotlib.pyplot as plt
    ink='#767676'
    plt.rcParams.update({'image.cmap':'Greys','figure.facecolor':'none','axes.facecolor':'none','savefig.facecolor':'none',
      'text.color':ink,'axes.labelcolor':ink,'xtick.color':ink,'ytick.color':ink,'axes.edgecolor':ink,'figure.figsize':(5,3),'figure.dpi':72})
def show_image(image, ax=None, title=None, **kw):
    import matplotlib.pyplot as plt
    if ax is None: _,ax=plt.subplots(figsize=(1.5,1.5))
    ax.imshow(image, cmap='Greys', **kw); ax.set_axis_off()
    if title: ax.set_title(title)
    return ax
def show_images(images, titles=None, ncols=8, **kw):
    import matplotlib.pyplot as plt, math
    n=len(images); nr=math.ceil(n/ncols)
    fig,axs=plt.subplots(nr,min(n,ncols),figsize=(min(n,ncols)*1.1,nr*1.3),squeeze=False)
    axs=axs.flatten()
    for i,a in enumerate(axs):
        if i<n: show_image(images[i],a,titles[i] if titles else None)
        else: a.set_axis_off()
    return axs[:n]
